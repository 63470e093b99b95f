// Runs a WASI program, such as a test binary of Rust: `node --no-warnings scripts/wasi.mjs PROGRAM [ARGUMENT]...`.
// The program sees the repository, and an empty folder as `/tmp`.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { WASI } from "node:wasi";

const [program, ...args] = process.argv.slice(2);
const repository = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = mkdtempSync(join(tmpdir(), "wasi-"));
process.on("exit", () => rmSync(folder, { recursive: true }));

const preopens = { [repository]: repository, "/tmp": folder };
const wasi = new WASI({ version: "preview1", args: [program, ...args], env: process.env, preopens });
const module = await WebAssembly.compile(readFileSync(program));
const instance = await WebAssembly.instantiate(module, wasi.getImportObject());
process.exitCode = wasi.start(instance);
