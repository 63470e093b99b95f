// Loads a package in Firefox: `node firefox.mjs PACKAGE FOLDER PICTURE FIREFOX`, with the picture in the folder. Without a
// protocol that drives the browser, a page of a strict content security policy sends its result back, which is printed.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serve, typeOf } from "./common.mjs";

const [, , folder, data, picture, firefox] = process.argv;
const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; img-src 'self'";
const CHECK = `
import { load } from "/index.js";
const check = async () => {
  const model = await load();
  const image = Object.assign(new Image(), { src: "/${picture}" });
  const cut = await load("/cut.weights").then(() => "no error", (error) => error.message);
  return { info: model.info, guesses: await model.classify(image), cut };
};
const result = await check().catch((error) => ({ error: String(error) }));
fetch("/result", { method: "POST", body: JSON.stringify(result) });
`;

/** Resolves to what the page sends. */
let resolve, reject;
const result = new Promise((...both) => ([resolve, reject] = both));
const server = await serve(async ({ pathname }, request) => {
  const send = (type, body) => ({ type, body, policy: POLICY });
  if (pathname === "/result") {
    let body = "";
    for await (const part of request) body += part;
    resolve(body);
    return send("text/plain", "");
  }
  if (pathname === "/") return send("text/html", '<!doctype html><title>check</title><script type="module" src="/check.js"></script>');
  if (pathname === "/check.js") return send("text/javascript", CHECK);
  if (pathname === "/cut.weights") return send("application/octet-stream", "cut");
  const from = pathname === `/${picture}` ? data : folder;
  return send(typeOf(pathname), await readFile(join(from, pathname)));
});
const profile = await mkdtemp(join(tmpdir(), "mbvc-firefox-"));
const browser = spawn(firefox, ["--headless", "--no-remote", "--profile", profile, `${server.origin}/`], { stdio: "ignore" });
const ended = new Promise((done) => browser.on("close", done));
browser.on("error", reject);
const limit = setTimeout(() => reject(new Error("Firefox sent no result within two minutes")), 120_000);
try {
  console.log(await result);
} finally {
  clearTimeout(limit);
  browser.kill();
  await ended;
  server.close();
  await rm(profile, { recursive: true, force: true });
}
