// @network@: an image of @width@x@height@ to @classes@ classes, @precision@, in WebAssembly. Written by mbvc @version@.
// No dependencies, no `eval`, no threads: it runs in pages, workers, Node, and under a strict content security policy.

/**
 * Modules, the best first, where `wasm` is not null. The engine must accept `probe`, a module with one instruction of
 * those that it needs.
 */
const MODULES = [
  {
    name: "relaxed",
    probe: [
      0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253,
      15, 253, 128, 2, 11,
    ],
    wasm: @relaxed_module@,
    weights: @relaxed_weights@,
  },
  {
    name: "simd",
    probe: [
      0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
    ],
    wasm: @module@,
    weights: @weights@,
  },
];

const INPUT = Object.freeze([@height@, @width@, @channels@]);
const LENGTH = INPUT[0] * INPUT[1] * INPUT[2];

/**
 * Loads a model. `weights` replaces the packed weights of the package: their address, or their bytes.
 * `options.relaxed: false` avoids instructions whose results differ between processors in the last digits;
 * `options.wasm` is the address of the module, or its bytes, if the package's cannot be found next to this file.
 */
export async function load(weights, options = {}) {
  const module = choose(options.relaxed ?? true);
  const from = weights ?? module.weights;
  if (weights != null && module.weights === null) {
    throw new Error("the weights are part of this package and cannot be replaced; build it without --embed");
  }
  const [code, file] = await Promise.all([
    compiled(options.wasm ?? module.wasm),
    from === null ? null : bytes(from, "the weights"),
  ]);
  const { exports } = await WebAssembly.instantiate(code, { mbvc: { now: () => performance.now() } });
  return new Model(exports, file, module.name === "relaxed");
}

/** The first module that the engine accepts. */
function choose(relaxed) {
  if (typeof WebAssembly !== "object") throw new Error("this engine has no WebAssembly");
  const accepted = MODULES.filter(({ wasm, probe }) => wasm !== null && WebAssembly.validate(new Uint8Array(probe)));
  const module = accepted.find(({ name }) => relaxed || name === "simd");
  if (module) return module;
  throw new Error("this engine has no SIMD in WebAssembly: it needs Chrome 91, Firefox 89, Safari 16.4, Node 16.4 or newer");
}

/** Compiled modules by address, which models share. */
const cache = new Map();

function compiled(wasm) {
  if (isBytes(wasm)) return compile(() => WebAssembly.compile(wasm));
  const key = String(wasm);
  if (!cache.has(key)) {
    const module = compile(() => compileFrom(wasm));
    module.catch(() => cache.delete(key));
    cache.set(key, module);
  }
  return cache.get(key);
}

async function compile(start) {
  try {
    return await start();
  } catch (cause) {
    if (!(cause instanceof WebAssembly.CompileError)) throw cause;
    throw new Error(`the WebAssembly module is damaged or blocked: ${cause.message}`, { cause });
  }
}

async function compileFrom(address) {
  if (isFile(address)) return WebAssembly.compile(await bytes(address, "the WebAssembly module"));
  const response = await request(address, "the WebAssembly module");
  const isStream = response.headers.get("Content-Type")?.startsWith("application/wasm");
  if (isStream && WebAssembly.compileStreaming) return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}

/** The bytes at an address, or `source` if it is bytes. */
async function bytes(source, what) {
  if (isBytes(source)) return ArrayBuffer.isView(source) ? view(source) : new Uint8Array(source);
  if (!isFile(source)) return new Uint8Array(await (await request(source, what)).arrayBuffer());
  const { readFile } = await import(/* webpackIgnore: true */ /* @vite-ignore */ "node:fs/promises");
  try {
    return await readFile(source instanceof URL || !source.startsWith("file:") ? source : new URL(source));
  } catch (cause) {
    throw new Error(`cannot read ${what}: ${cause.message}`, { cause });
  }
}

async function request(address, what) {
  let response;
  try {
    response = await fetch(address);
  } catch (cause) {
    throw new Error(`cannot load ${what} from ${address}: ${cause.message}`, { cause });
  }
  if (!response.ok) throw new Error(`cannot load ${what} from ${address}: status ${response.status}`);
  return response;
}

function isBytes(source) {
  return source instanceof ArrayBuffer || ArrayBuffer.isView(source);
}

/** Whether it is the address of a file of Node, which `fetch` does not read. */
function isFile(address) {
  if (typeof process !== "object" || !process.versions?.node) return false;
  return String(address).startsWith("file:") || (typeof address === "string" && !/^[a-z][a-z\d+.-]+:/i.test(address));
}

function view(array) {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** An instance of the module, which is one model with its own memory. */
class Model {
  #exports;
  #gone = "the model was disposed";
  #steps;

  constructor(exports, weights, relaxed) {
    this.#exports = exports;
    if (weights) this.#memory(exports.web_weights(weights.length), weights.length, "the weights").set(weights);
    this.#call("web_open");
    this.#call("web_describe");
    const [isa, framing, activation, steps, ...labels] = this.#text().split("\n");
    this.#steps = steps.split(" ");
    /** Names of the classes; empty if the weights have none. */
    this.labels = Object.freeze(labels);
    /** Facts of the network. */
    this.info = Object.freeze({
      name: "@network@",
      input: INPUT,
      classes: @classes@,
      embedding: @embedding@,
      precision: "@precision@",
      isa,
      relaxed,
      framing,
      activation,
    });
  }

  /** The classes of a picture with the highest scores, the best first. */
  async classify(source, { top = 5 } = {}) {
    if (!Number.isInteger(top) || top < 1) throw new Error(`top must be a positive integer, not ${top}`);
    this.#alive();
    const pixels = await read(source);
    // From here on without interruption: another call may use the same memory.
    const count = this.#call("web_classify", ...this.#write(pixels), Math.min(top, 2 ** 31));
    const { memory, web_classes, web_values } = this.#exports;
    const classes = new Uint32Array(memory.buffer, web_classes(), count);
    const scores = new Float32Array(memory.buffer, web_values(), count);
    return Array.from(classes, (index, at) => {
      const label = this.labels[index];
      return label === undefined ? { index, score: scores[at] } : { index, label, score: scores[at] };
    });
  }

  /** The vector before the classifier, for similarity and transfer learning. */
  async embed(source) {
    this.#alive();
    const pixels = await read(source);
    return this.#values(this.#call("web_embed", ...this.#write(pixels)));
  }

  /** The logits of an image of the network's size: preprocessed floats, or the bytes of pixels. */
  run(image) {
    const exports = this.#alive();
    if (image?.length !== LENGTH) {
      throw new Error(`the image has ${image?.length} values, expected ${INPUT.join(" x ")} = ${LENGTH}`);
    }
    if (image instanceof Float32Array) {
      this.#memory(exports.web_image(), LENGTH * 4, "the image").set(view(image));
      return this.#values(this.#call("web_run"));
    }
    if (!isPixels(image)) throw new Error("the image must be a Float32Array or a Uint8Array");
    this.#memory(exports.web_pixels(LENGTH), LENGTH, "the image").set(image);
    return this.#values(this.#call("web_run_pixels"));
  }

  /** The mean milliseconds of each step over `runs` calls; many calls make up for a coarse clock. */
  profile({ runs = 20 } = {}) {
    if (!Number.isInteger(runs) || runs < 1) throw new Error(`runs must be a positive integer, not ${runs}`);
    const [height, width] = INPUT;
    const sums = new Float64Array(this.#steps.length);
    this.#write({ data: new Uint8Array(width * height * 3).fill(127), width, height });
    this.#call("web_profile", width, height, 3); // warms up
    for (let run = 0; run < runs; run++) {
      this.#values(this.#call("web_profile", width, height, 3)).forEach((ms, step) => (sums[step] += ms));
    }
    return this.#steps.map((name, step) => ({ name, ms: sums[step] / runs }));
  }

  /** Frees the memory of the model, which cannot be used after. */
  dispose() {
    this.#exports = null;
  }

  #alive() {
    if (this.#exports === null) throw new Error(this.#gone);
    return this.#exports;
  }

  /** Calls a function of the module; returns its result, which is not negative. */
  #call(name, ...numbers) {
    const exports = this.#alive();
    let result;
    try {
      result = exports[name](...numbers);
    } catch (cause) {
      this.#gone = `the model failed before (${cause.message}); load it again`;
      this.#exports = null;
      throw new Error(`the model failed, it may be out of memory: ${cause.message}`, { cause });
    }
    if (result < 0) throw new Error(this.#text());
    return result;
  }

  #text() {
    const { memory, web_text, web_text_bytes } = this.#exports;
    return new TextDecoder().decode(new Uint8Array(memory.buffer, web_text(), web_text_bytes()));
  }

  #values(count) {
    return new Float32Array(this.#exports.memory.buffer, this.#exports.web_values(), count).slice();
  }

  /** Memory of the module for JavaScript to write. */
  #memory(address, length, what) {
    if (address === 0) throw new Error(`not enough memory for ${what} of ${length} bytes`);
    return new Uint8Array(this.#exports.memory.buffer, address, length);
  }

  /** Writes the pixels of a picture to the module; returns its width, height and channels. */
  #write({ data, width, height }) {
    const channels = data.length / (width * height);
    if (channels !== 3 && channels !== 4) {
      const [rgb, rgba] = [3, 4].map((count) => width * height * count);
      throw new Error(`the data of ${width}x${height} pixels has ${data.length} bytes, expected ${rgb} or ${rgba}`);
    }
    const address = this.#alive().web_pixels(data.length);
    this.#memory(address, data.length, "a picture").set(data);
    return [width, height, channels];
  }
}

function isPixels(data) {
  return data instanceof Uint8Array || data instanceof Uint8ClampedArray;
}

/** The pixels of a source: `{ data, width, height }`. */
async function read(source) {
  if (source?.data !== undefined) {
    const { data, width, height } = source;
    const sides = [width, height];
    if (!isPixels(data)) throw new Error("the data of a picture must be a Uint8Array or a Uint8ClampedArray");
    if (!sides.every((side) => Number.isInteger(side) && side > 0)) throw new Error(`no size of a picture: ${sides}`);
    return source;
  }
  if (is("Blob", source)) {
    if (typeof createImageBitmap !== "function") throw new Error("this engine cannot decode pictures; pass their pixels");
    const bitmap = await createImageBitmap(source).catch((cause) => {
      throw new Error(`cannot decode the picture: ${cause.message}`, { cause });
    });
    const pixels = drawn(bitmap, bitmap.width, bitmap.height);
    bitmap.close();
    return pixels;
  }
  if (is("HTMLImageElement", source)) {
    await source.decode().catch((cause) => {
      throw new Error(`cannot decode the picture: ${cause.message}`, { cause });
    });
    return drawn(source, source.naturalWidth, source.naturalHeight);
  }
  if (is("HTMLVideoElement", source)) return drawn(source, source.videoWidth, source.videoHeight);
  if (is("VideoFrame", source)) return drawn(source, source.displayWidth, source.displayHeight);
  if (["ImageBitmap", "HTMLCanvasElement", "OffscreenCanvas"].some((name) => is(name, source))) {
    return drawn(source, source.width, source.height);
  }
  throw new Error("no picture: expected an image, a canvas, a bitmap, a blob, or { data, width, height }");
}

function is(name, source) {
  return typeof globalThis[name] === "function" && source instanceof globalThis[name];
}

/** The pixels of something that a canvas draws, in its own size. */
function drawn(source, width, height) {
  if (!(width > 0 && height > 0)) throw new Error("the picture has no pixels: it is closed, or not loaded yet");
  const canvas = is("Function", globalThis.OffscreenCanvas)
    ? new OffscreenCanvas(width, height)
    : Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context === null) throw new Error(`not enough memory for a picture of ${width}x${height}`);
  try {
    context.drawImage(source, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  } catch (cause) {
    const remedy = cause.name === "SecurityError" ? "; it is from another origin, which must allow it (crossorigin)" : "";
    throw new Error(`cannot read the pixels of the picture${remedy}: ${cause.message}`, { cause });
  }
}
