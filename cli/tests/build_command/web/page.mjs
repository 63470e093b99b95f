// Uses the demo page as a visitor does: `node page.mjs FOLDER PLAYWRIGHT CHROMIUM`. Prints what it shows as JSON.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { FLAGS, serve, typeOf } from "./common.mjs";

const [, , folder, playwright, executablePath] = process.argv;
const { chromium } = await import(pathToFileURL(resolve(playwright, "index.mjs")));

const answer = async ({ pathname }) => ({ type: typeOf(pathname), body: await readFile(join(folder, pathname)) });
const server = await serve(answer);
const camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
const browser = await chromium.launch({ executablePath, args: [...FLAGS, ...camera] });

const shown = {};
try {
  // The size of a phone.
  const page = await browser.newPage({ viewport: { width: 390, height: 844 } });
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(`${server.origin}/index.html`);
  const best = (label) =>
    page.waitForFunction((label) => document.querySelector("#classes li span")?.textContent === label, label);
  const texts = (selector) => page.locator(selector).allInnerTexts();

  // The first sample, then one that is chosen with the keyboard.
  await best("alarm clock");
  await page.getByRole("button", { name: "pizza" }).focus();
  await page.keyboard.press("Enter");
  await best("pizza");
  [shown.labels, shown.scores] = [await texts("#classes span"), await texts("#classes b")];
  assert.match(await page.getByRole("status").first().innerText(), /^pizza, \d/);

  // Two classes with an example each.
  const add = page.getByRole("button", { name: "Add an example" });
  await page.getByRole("textbox", { name: "Name" }).nth(0).fill("food");
  await add.nth(0).focus();
  await page.keyboard.press("Enter");
  await page.getByText("1 example", { exact: true }).waitFor();
  await page.getByRole("button", { name: "bicycle" }).click();
  await best("bicycle");
  await add.nth(1).click();
  await page.waitForFunction(() => document.querySelector("#lesson-result").textContent.startsWith("Class B"));
  await page.getByRole("button", { name: "strawberry" }).click();
  await best("strawberry");
  await page.getByRole("button", { name: "pizza" }).click();
  await page.waitForFunction(() => document.querySelector("#lesson-result").textContent.startsWith("food"));
  await page.getByRole("button", { name: "Forget all examples" }).click();
  assert.equal(await page.locator("#lesson-result").innerText(), "No examples yet.");

  // A step for each row of the picture.
  await page.getByRole("button", { name: "Measure" }).click();
  await page.getByText("The network before and after fusion").click();
  shown.steps = await texts("#steps span");
  assert.equal(await page.locator("#graph .time").count(), shown.steps.length);

  // A file that is no picture, and the camera.
  await page.setInputFiles("#file", { name: "no.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
  await page.getByRole("alert").waitFor();
  assert.match(await page.getByRole("alert").innerText(), /no\.png is not a picture/);
  await page.getByRole("button", { name: "Use the camera" }).click();
  await page.waitForFunction(() => document.querySelector("#video").currentTime > 0.5);
  assert(await page.getByRole("alert").isHidden());
  await page.getByRole("button", { name: "Stop the camera" }).click();

  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert(width <= 390, `the page is ${width} pixels wide`);
  assert.deepEqual(complaints, []);
} finally {
  await browser.close();
  server.close();
}
console.log(JSON.stringify(shown));
