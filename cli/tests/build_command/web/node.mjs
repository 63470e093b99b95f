// Checks a package in Node: `node node.mjs PACKAGE FOLDER NAME`, with pictures in the folder. Prints results as JSON.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { weightsOf } from "./common.mjs";

const [, , folder, data, stem] = process.argv;
const { load } = await import(pathToFileURL(resolve(folder, "index.js")));

/** Memories of the modules, which the package does not export. */
const memories = [];
const { instantiate } = WebAssembly;
WebAssembly.instantiate = async (...given) => {
  const instance = await instantiate.apply(WebAssembly, given);
  memories.push(instance.exports.memory);
  return instance;
};

/** The binary PPM file `name`. */
async function ppm(name) {
  const file = await readFile(join(data, name));
  const [header, width, height] = /^P6\n(\d+) (\d+)\n255\n/.exec(file.subarray(0, 30).toString("latin1"));
  return { data: new Uint8Array(file.subarray(header.length)), width: Number(width), height: Number(height) };
}

/** With a fourth byte per pixel. */
function rgba({ data, width, height }) {
  const pixels = new Uint8ClampedArray(width * height * 4).map((_, at) => (at % 4 === 3 ? 77 : data[(at >> 2) * 3 + (at % 4)]));
  return { data: pixels, width, height };
}

const fails = (promise, message) => assert.rejects(async () => promise, (error) => error instanceof Error && message.test(error.message));
const throws = (run, message) => assert.throws(run, (error) => error instanceof Error && message.test(error.message));

const model = await load();
const { info, labels } = model;
const [a, b] = [await ppm("a.ppm"), await ppm("b.ppm")];
const floats = Float32Array.from({ length: info.input.reduce((x, y) => x * y) }, (_, at) => ((at * at) % 251) / 125 - 1);
const results = {
  info,
  labels,
  a: await model.classify(a, { top: 100 }),
  b: await model.classify(b),
  logits: [...model.run(b.data)],
  floats: [...model.run(floats)],
  embedding: [...(await model.embed(b))],
};
assert.deepEqual(await model.classify(rgba(a), { top: 100 }), results.a, "alpha is dropped");
assert.deepEqual([...model.run(new Uint8ClampedArray(b.data))], results.logits);

// Calls of one model that overlap.
const overlapping = await Promise.all([a, b, rgba(a), b].map((picture) => model.classify(picture, { top: 100 })));
assert.deepEqual(overlapping[0], results.a);
assert.deepEqual(overlapping[2], results.a);
assert.deepEqual(overlapping[1].slice(0, 5), results.b);
assert.deepEqual(overlapping[3], overlapping[1]);

// A second model has its own memory; the first one's results do not change.
const other = await load(undefined, { relaxed: false });
assert.equal(other.info.relaxed, false);
const [first, second] = await Promise.all([model.classify(a, { top: 1 }), other.classify(b, { top: 1 })]);
assert.deepEqual([first[0], second[0].index], [results.a[0], results.b[0].index]);
other.dispose();
await fails(other.classify(a), /was disposed/);
throws(() => other.run(floats), /was disposed/);
throws(() => other.profile(), /was disposed/);

// Wrong arguments.
const size = floats.length;
throws(() => model.run(floats.subarray(1)), new RegExp(`has ${size - 1} values, expected .* = ${size}`));
throws(() => model.run(undefined), /has undefined values/);
throws(() => model.run(new Float64Array(size)), /Float32Array or a Uint8Array/);
await fails(model.classify({ ...a, width: a.width + 1 }), /expected \d+ or \d+ bytes/);
await fails(model.classify({ ...a, width: 0 }), /invalid picture size/);
await fails(model.classify({ ...a, width: 0.5 }), /invalid picture size/);
await fails(model.classify({ ...a, data: [1, 2, 3] }), /must be a Uint8Array/);
await fails(model.classify({ data: new Uint8Array(0), width: 2 ** 20, height: 2 ** 20 }), /expected \d+ or \d+ bytes/);
await fails(model.classify("cat.jpg"), /unsupported picture/);
await fails(model.classify(null), /unsupported picture/);
await fails(model.classify(new Blob([])), /cannot decode pictures/);
await fails(model.classify(a, { top: 0 }), /invalid top: expected/);
throws(() => model.profile({ runs: -1 }), /invalid runs: expected/);
assert.deepEqual(await model.classify(b), results.b, "the model works after errors");

// Weights.
const weights = await readFile(join(folder, weightsOf(stem, model.info.isa))).catch(() => null);
if (weights === null) {
  await fails(load(new Uint8Array(64)), /part of this package/);
} else {
  const again = await load(weights);
  assert.deepEqual(await again.classify(b), results.b);
  const broken = (change) => change(new Uint8Array(weights));
  await fails(load(weights.subarray(0, weights.length - 64)), /length of the packed weights does not match/);
  await fails(load(new Uint8Array(0)), /not packed weights/);
  await fails(load(new TextEncoder().encode("<!doctype html>")), /not packed weights/);
  await fails(load(broken((bytes) => ((bytes[900] ^= 1), bytes))), /damaged/);
  await fails(load(broken((bytes) => ((bytes[16] ^= 1), bytes))), /do not match the network/);
  await fails(load(join(data, "absent.weights")), /cannot read the weights: .*absent/);
  await fails(load("http://127.0.0.1:9/x.weights"), /cannot load the weights from http:/);
}

// An engine whose dot products of bytes are not exact.
const { Instance } = WebAssembly;
WebAssembly.Instance = class {
  exports = { dot: (signed, unsigned) => 4 * signed * ((unsigned << 24) >> 24) };
};
const inexact = await load();
assert.equal(inexact.info.isa, model.info.precision === "int8" ? "wasm128" : model.info.isa);
assert.deepEqual(await inexact.classify(b), results.b);
WebAssembly.Instance = Instance;

const wasm = join(folder, `${stem}.wasm`);
await writeFile(join(data, "cut.wasm"), (await readFile(wasm)).subarray(0, 1000));
await fails(load(undefined, { wasm: join(data, "cut.wasm") }), /WebAssembly module is damaged/);
await load(undefined, { wasm: pathToFileURL(wasm), relaxed: false });

// An engine without SIMD.
const { validate } = WebAssembly;
WebAssembly.validate = () => false;
await fails(load(), /does not support WebAssembly SIMD; expected Chrome/);
WebAssembly.validate = validate;

// Steps.
const steps = model.profile({ runs: 3 });
assert.deepEqual([steps[0].name, steps.at(-1).name], ["stem+block1", "classifier"]);
assert(steps.every(({ ms }) => ms >= 0 && ms < 1000));

// The memory of a model does not grow.
const { buffer } = memories[0];
for (let call = 0; call < 10_000; call++) model.run(call % 2 === 0 ? b.data : floats);
for (let call = 0; call < 200; call++) await model.classify(call % 2 === 0 ? a : rgba(a));
assert.equal(memories[0].buffer, buffer);
console.log(JSON.stringify(results));
