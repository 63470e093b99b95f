// `node run.mjs FILES PRECISION RUNS [CHROMIUM]`: measures in this process, or in the browser. Prints JSON.
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { createRequire } from "node:module";
import { runInThisContext } from "node:vm";
import { measure } from "./measure.js";
import { serve } from "./server.mjs";

const [files, precision, runs, browser] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const folders = { npm: join(here, "node_modules"), web: here };
for (const name of ["models", "weights", "mbvc-f32", "mbvc-int8"]) folders[name] = resolve(files, name);
const server = await serve(folders);

async function inNode() {
  const path = (url) => join(folders[url.split("/")[0]], ...url.split("?")[0].split("/").slice(1));
  const host = {
    url: (url) => server.address + url,
    module: (url) => import(`${pathToFileURL(path(url))}${url.includes("?") ? `?${url.split("?")[1]}` : ""}`),
    onnxruntime: () => import("onnxruntime-web/wasm"),
    tfjs: async () => {
      const tf = await import("@tensorflow/tfjs-core");
      const { setWasmPaths } = await import("@tensorflow/tfjs-backend-wasm");
      setWasmPaths(`${join(folders.npm, "@tensorflow/tfjs-backend-wasm/dist")}/`);
      await tf.setBackend("wasm");
      return tf;
    },
  };
  // LiteRT.js loads its script as a worker does.
  globalThis.self ??= globalThis;
  globalThis.require ??= createRequire(import.meta.url);
  globalThis.__dirname ??= join(folders.npm, "@litertjs/core/wasm");
  globalThis.importScripts = (url) => runInThisContext(readFileSync(path(new URL(url).pathname.slice(1)), "utf8"));
  return { engine: `Node ${process.versions.node}`, rows: await measure(host, precision, Number(runs)) };
}

async function inChromium() {
  const { chromium } = await import("playwright-core");
  const quiet = ["background-networking", "component-update", "sync"].map((what) => `--disable-${what}`);
  const opened = await chromium.launch({ executablePath: browser, args: ["--no-sandbox", "--disable-gpu", "--no-first-run", ...quiet] });
  try {
    const page = await opened.newPage();
    await page.goto(`${server.address}web/page.html`);
    await page.waitForFunction(() => globalThis.start);
    const rows = await page.evaluate(([precision, runs]) => globalThis.start(precision, runs), [precision, Number(runs)]);
    return { engine: `Chromium ${opened.version()}`, rows };
  } finally {
    await opened.close();
  }
}

const result = await (browser ? inChromium() : inNode());
console.log(JSON.stringify(result));
server.close();
process.exit(0);
