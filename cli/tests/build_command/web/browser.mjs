// Checks a package in Chromium, under a strict content security policy:
// `node browser.mjs PACKAGE FOLDER NAME PLAYWRIGHT CHROMIUM PICTURE...`, with the pictures in the folder. Writes the
// pixels that the page sees to `PICTURE.rgba`, and prints the results as JSON.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { FLAGS, serve, typeOf, weightsOf } from "./common.mjs";

const [, , folder, data, stem, playwright, executablePath, ...pictures] = process.argv;
const { chromium } = await import(pathToFileURL(resolve(playwright, "index.mjs")));

const STRICT = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'; img-src * blob:";
const PAGE = "<!doctype html><title>check</title>";

/** Serves the package and the pictures. */
async function answer({ pathname, searchParams }) {
  const send = (type, body, policy = STRICT) => ({ type, body, policy });
  if (pathname === "/") return send("text/html", PAGE);
  if (pathname === "/forbidden") return send("text/html", PAGE, STRICT.replace("'wasm-unsafe-eval'", ""));
  if (pathname === "/cut.weights") {
    const whole = await readFile(join(folder, weightsOf(stem, searchParams.get("isa"))));
    return send("application/octet-stream", whole.subarray(0, whole.length / 2));
  }
  if (pathname === "/plain.wasm") return send("text/plain", await readFile(join(folder, `${stem}.wasm`)));
  const from = pictures.includes(pathname.slice(1)) ? data : folder;
  // The page of the demo brings its own policy.
  return send(typeOf(pathname), await readFile(join(from, pathname)), pathname === "/demo.html" ? "" : STRICT);
}

const [here, elsewhere] = [await serve(answer), await serve(answer)];
const { origin } = here;
const profile = await mkdtemp(join(tmpdir(), "mbvc-browser-"));
const context = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: FLAGS });

/** A page whose console has no errors besides those that match `expected`. */
async function open(path, expected = /(?!)/) {
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error" && !expected.test(message.text())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(origin + path);
  return { page, complaints };
}

const results = { pictures: {} };
try {
  const { page, complaints } = await open("/", /status of 404/);
  results.info = await page.evaluate(async () => {
    const { load } = await import("/index.js");
    globalThis.load = load;
    globalThis.model = await load();
    globalThis.fails = (promise) =>
      promise.then(() => "no error", (error) => (error instanceof Error ? error.message : `no Error: ${error}`));
    return model.info;
  });

  for (const name of pictures) {
    const { rgba, size, found } = await page.evaluate(async (name) => {
      const image = Object.assign(new Image(), { src: `/${name}` });
      const found = { image: await model.classify(image) };
      const { naturalWidth: width, naturalHeight: height } = image;
      const canvas = Object.assign(document.createElement("canvas"), { width, height });
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      const pixels = context.getImageData(0, 0, width, height);
      const blob = await (await fetch(image.src)).blob();
      const bitmap = await createImageBitmap(image);
      const offscreen = new OffscreenCanvas(width, height);
      offscreen.getContext("2d").putImageData(pixels, 0, 0);
      const sources = { canvas, pixels, blob, bitmap, offscreen };
      for (const [kind, source] of Object.entries(sources)) found[kind] = await model.classify(source);
      const frame = new VideoFrame(canvas, { timestamp: 0 });
      found.frame = await model.classify(frame);
      frame.close();
      return { rgba: [...pixels.data], size: [width, height], found };
    }, name);
    await writeFile(join(data, `${name}.rgba`), new Uint8Array(rgba));
    for (const [kind, guesses] of Object.entries(found)) assert.deepEqual(guesses, found.image, `${name} as ${kind}`);
    results.pictures[name] = { size, guesses: found.image };
  }

  // Errors.
  const said = await page.evaluate(
    async ([name, foreign]) => {
      const closed = await createImageBitmap(new ImageData(2, 2));
      closed.close();
      const image = Object.assign(new Image(), { src: foreign });
      return {
        absent: await fails(load("/absent.weights")),
        cut: await fails(load(`/cut.weights?isa=${model.info.isa}`)),
        page: await fails(load("/")),
        blob: await fails(model.classify(new Blob(["no picture"]))),
        broken: await fails(model.classify(Object.assign(new Image(), { src: "/absent.png" }))),
        closed: await fails(model.classify(closed)),
        foreign: await fails(model.classify(image)),
        element: await fails(model.classify(document.body)),
        plain: await fails(load(null, { wasm: "/plain.wasm", relaxed: false }).then((one) => one.classify(new ImageData(2, 2)))),
      };
    },
    [pictures[0], `${elsewhere.origin}/${pictures[0]}`],
  );
  for (const [name, message] of Object.entries({
    absent: /cannot load the weights from .*absent.weights: status 404/,
    cut: /length of the packed weights does not match/,
    page: /not packed weights/,
    blob: /cannot decode the picture/,
    broken: /cannot decode the picture/,
    closed: /it is closed, or not loaded/,
    foreign: /from another origin/,
    element: /unsupported picture: expected/,
    plain: /no error/,
  })) {
    assert.match(said[name], message, name);
  }

  // Two models, and workers with one each.
  const workers = await page.evaluate(async (name) => {
    const image = Object.assign(new Image(), { src: `/${name}` });
    const other = await load(null, { relaxed: false });
    const { Pool } = await import("/pool.js");
    const pool = new Pool(2);
    const blob = await (await fetch(image.src)).blob();
    await image.decode();
    const answers = await Promise.all([pool.classify(image), pool.classify(blob), pool.classify(blob, { top: 2 }), pool.embed(blob)]);
    const { info, labels } = await pool.info();
    const found = {
      other: await other.classify(image),
      isSame: JSON.stringify([info, labels]) === JSON.stringify([model.info, model.labels]),
      lengths: [answers[2].length, answers[3].length, other.info.embedding],
      failed: await fails(pool.classify({ data: new Uint8Array(5), width: 1, height: 1 })),
      uncloned: await fails(pool.classify({ data: () => {} })),
      again: await pool.classify(blob),
    };
    other.dispose();
    const late = fails(pool.classify(blob));
    pool.close();
    return { ...found, image: answers[0], blob: answers[1], late: await late, closed: await fails(pool.classify(blob)) };
  }, pictures[0]);
  const expected = results.pictures[pictures[0]].guesses;
  assert.deepEqual([workers.image, workers.blob, workers.again], [expected, expected, expected]);
  assert.deepEqual(workers.other.map(({ index }) => index), expected.map(({ index }) => index));
  assert(workers.isSame);
  assert.deepEqual(workers.lengths.slice(0, 2), [2, workers.lengths[2]]);
  assert.match(workers.failed, /expected 3 or 4/);
  assert.match(workers.uncloned, /could not be cloned/);
  assert.match(workers.late, /pool was closed/);
  assert.match(workers.closed, /pool was closed/);
  assert.deepEqual(complaints, []);

  // A worker that cannot be loaded.
  const broken = await open("/", /status of 404|Failed to load/);
  await broken.page.route("**/worker.js", (route) => route.fulfill({ status: 404 }));
  const lost = await broken.page.evaluate(async () => {
    const { Pool } = await import("/pool.js");
    const pool = new Pool(1);
    const call = () => pool.info().then(() => "no error", (error) => error.message);
    return [await call(), await call()];
  });
  assert.match(lost[0], /worker failed/);
  assert.match(lost[1], /worker failed/);

  // A policy that forbids WebAssembly.
  const forbidden = await open("/forbidden", /Content Security Policy/i);
  const reason = await forbidden.page.evaluate(async () => {
    const { load } = await import("/index.js");
    return load().then(() => "no error", (error) => error.message);
  });
  assert.match(reason, /module is damaged or blocked/);

  // The page of the demo.
  const demo = await open("/demo.html");
  await demo.page.setInputFiles("#file", join(data, pictures[0]));
  await demo.page.waitForFunction(() => document.querySelectorAll("#guesses li").length === 5);
  const shown = await demo.page.evaluate(() => [...document.querySelectorAll("#guesses b")].map((cell) => cell.textContent));
  assert.deepEqual(shown, expected.map(({ score }) => `${(score * 100).toFixed(1)} %`));
  await demo.page.setViewportSize({ width: 800, height: 900 });
  await demo.page.screenshot({ path: join(data, "demo.png") });
  assert.deepEqual(demo.complaints, []);
} finally {
  await context.close();
  await rm(profile, { recursive: true, force: true });
  here.close();
  elsewhere.close();
}
console.log(JSON.stringify(results));
