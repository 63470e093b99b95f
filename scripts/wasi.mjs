// Runs a WASI program, such as a test binary of Rust: `node --no-warnings scripts/wasi.mjs PROGRAM [ARGUMENT]...`.
// The program sees an empty temporary folder as its file system.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WASI } from "node:wasi";

const [program, ...args] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "wasi-"));
process.on("exit", () => rmSync(folder, { recursive: true }));

const wasi = new WASI({ version: "preview1", args: [program, ...args], env: process.env, preopens: { "/tmp": folder } });
const module = await WebAssembly.compile(readFileSync(program));
const instance = await WebAssembly.instantiate(module, wasi.getImportObject());
process.exitCode = wasi.start(instance);
