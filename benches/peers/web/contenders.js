// The engines of a comparison. The same code runs in Node and in a page; `host` resolves paths:
// `host.url(path)` is an address below the folder of files, `host.module(path)` imports a module from it, and
// `host.tfjs()` and `host.onnxruntime()` return these packages.

const [HEIGHT, WIDTH, CHANNELS] = [224, 224, 3];

/** Returns the engines that run a precision: functions by name, each of which loads one and returns an async `run()`. */
export function contenders(host, precision) {
  const quantized = precision === "int8";
  const model = `models/mobilenet_v2_1.0_224_${quantized ? "int8_ptq" : "f32"}.tflite`;
  const engines = {
    "mbvc relaxed": () => mbvc(host, precision, true),
    "mbvc simd128": () => mbvc(host, precision, false),
    "LiteRT.js relaxed": () => litert(host, model, "litert_wasm_internal.js", quantized),
    "LiteRT.js compat": () => litert(host, model, "litert_wasm_compat_internal.js", quantized),
  };
  if (quantized) return engines;
  return { ...engines, "TensorFlow.js": () => tfjs(host), "ONNX Runtime Web": () => onnxruntime(host) };
}

/** An image without symmetry: bytes of a linear congruential generator over a gradient. */
function pixels() {
  let state = 1;
  return Uint8Array.from({ length: HEIGHT * WIDTH * CHANNELS }, (_, at) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return ((at / (HEIGHT * WIDTH * CHANNELS)) * 128 + (state >>> 25)) & 255;
  });
}

function preprocessed() {
  return Float32Array.from(pixels(), (byte) => byte / 127.5 - 1);
}

async function fetched(host, path) {
  const response = await fetch(host.url(path));
  if (!response.ok) throw new Error(`${path}: status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

async function mbvc(host, precision, relaxed) {
  const { load } = await host.module(`mbvc-${precision}/index.js`);
  const model = await load(undefined, { relaxed });
  const image = precision === "int8" ? pixels() : preprocessed();
  return async () => model.run(image);
}

/** LiteRT.js is one library for each page; a query string makes the page load a second copy. */
async function litert(host, path, script, quantized) {
  const { loadLiteRt, loadAndCompile, Tensor } = await host.module(`npm/@litertjs/core/dist/index.js?${script}`);
  await loadLiteRt(host.url(`npm/@litertjs/core/wasm/${script}`));
  const model = await loadAndCompile(await fetched(host, path), { accelerator: "wasm" });
  const image = quantized ? pixels() : preprocessed();
  return async () => {
    const input = new Tensor(image, [1, HEIGHT, WIDTH, CHANNELS]);
    const [output] = await model.run(input);
    const scores = output.toTypedArray().slice();
    input.delete();
    output.delete();
    return scores;
  };
}

async function onnxruntime(host) {
  const ort = await host.onnxruntime();
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(await fetched(host, "models/mobilenet_v2_1.0_224_f32.onnx"));
  const [nhwc, plane] = [preprocessed(), HEIGHT * WIDTH];
  const nchw = Float32Array.from(nhwc, (_, at) => nhwc[(at % plane) * CHANNELS + Math.floor(at / plane)]);
  const tensor = new ort.Tensor("float32", nchw, [1, CHANNELS, HEIGHT, WIDTH]);
  return async () => (await session.run({ [session.inputNames[0]]: tensor }))[session.outputNames[0]].data;
}

/** The fused kernels that TensorFlow.js's converter makes of the network, called layer by layer. */
async function tfjs(host) {
  const tf = await host.tfjs();
  const weights = await safetensors(host, "weights/f32.safetensors");
  const tensor = (name) => {
    const { values, shape } = weights[name];
    return tf.tensor(values, name.includes("depthwise.weight") ? [...shape, 1] : shape);
  };
  const names = Object.keys(weights).filter((name) => name.endsWith(".weight"));
  const layers = Object.fromEntries(names.map((name) => {
    const layer = name.slice(0, -".weight".length);
    return [layer, { filter: tensor(name), bias: tensor(`${layer}.bias`) }];
  }));
  const blocks = Array.from({ length: 17 }, (_, at) => `block${at + 1}`);
  const strides = { block2: 2, block4: 2, block7: 2, block14: 2 };
  const conv = (x, layer, activation, strides = 1) =>
    tf.fused.conv2d({ x, ...layers[layer], strides, pad: "same", activation });
  const image = tf.tensor(preprocessed(), [1, HEIGHT, WIDTH, CHANNELS]);
  const forward = () => {
    let x = conv(image, "stem", "relu6", 2);
    for (const block of blocks) {
      let y = layers[`${block}.expand`] ? conv(x, `${block}.expand`, "relu6") : x;
      const depthwise = layers[`${block}.depthwise`];
      y = tf.fused.depthwiseConv2d({ x: y, ...depthwise, strides: strides[block] ?? 1, pad: "same", activation: "relu6" });
      y = conv(y, `${block}.project`, "linear");
      const isResidual = !strides[block] && y.shape[3] === x.shape[3];
      x = isResidual ? tf.add(x, y) : y;
    }
    x = tf.mean(conv(x, "head", "relu6"), [1, 2]);
    const { filter, bias } = layers.classifier;
    return tf.fused.matMul({ a: x, b: tf.reshape(filter, filter.shape.slice(-2)), bias });
  };
  return async () => {
    const logits = tf.tidy(forward);
    const scores = await logits.data();
    logits.dispose();
    return scores;
  };
}

async function safetensors(host, path) {
  const { buffer } = await fetched(host, path);
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  delete header.__metadata__;
  const values = ([begin, end]) => new Float32Array(buffer.slice(8 + length + begin, 8 + length + end));
  return Object.fromEntries(Object.entries(header).map(([name, { shape, data_offsets }]) => [name, { shape, values: values(data_offsets) }]));
}
