// @network@: an image of @width@x@height@ to @classes@ classes, @precision@. Written by mbvc @version@.

/** Pixels, row by row from the top: red, green, blue and alpha (`width * height * 4` bytes) or without alpha (`* 3`). */
export interface Pixels {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/** A picture of any size. It is cropped and resized as the weights require (@framing@); alpha is dropped. */
export type Picture =
  | Pixels
  | Blob
  | HTMLCanvasElement
  | HTMLImageElement
  | HTMLVideoElement
  | ImageBitmap
  | ImageData
  | OffscreenCanvas
  | VideoFrame;

/** A class with its score. */
export interface Guess {
  /** Index of the class. */
  readonly index: number;
  /** Name of the class, if the weights have names. */
  readonly label?: string;
  /** Score: a probability if `info.activation` is `softmax` or `sigmoid`. */
  readonly score: number;
}

/** Facts of a network. */
export interface Info {
  readonly name: string;
  /** Height, width and channels of the image. */
  readonly input: readonly [number, number, number];
  /** Number of logits. */
  readonly classes: number;
  /** Length of the vector that `embed` returns. */
  readonly embedding: number;
  readonly precision: "f32" | "bf16" | "int8" | "uint8";
  /** Instruction set of the kernels. */
  readonly isa: string;
  /** Whether a module with relaxed SIMD instructions runs. */
  readonly relaxed: boolean;
  /** How pictures are cropped and resized. */
  readonly framing: string;
  /** Function from logits to scores. */
  readonly activation: string;
}

/** Time of a step. */
export interface StepTime {
  readonly name: string;
  readonly ms: number;
}

/** A model in the memory of its own instance of the module. Failures are `Error`s with the reason. */
export interface Model {
  /** Names of the classes; empty if the weights have none. */
  readonly labels: readonly string[];
  readonly info: Info;
  /** The classes of a picture with the highest scores, at most `top` (5), the best first. */
  classify(source: Picture, options?: { top?: number }): Promise<Guess[]>;
  /** The pooled vector of a picture, `info.embedding` numbers, for similarity and transfer learning. */
  embed(source: Picture): Promise<Float32Array>;
  /**
   * The logits of an image of the network's size, `@height@ * @width@ * @channels@` values: preprocessed numbers, or the bytes of
   * pixels (@colors@), which are preprocessed as the weights require.
   */
  run(image: Float32Array | Uint8Array | Uint8ClampedArray): Float32Array;
  /** The mean milliseconds of each step over `runs` calls (20). */
  profile(options?: { runs?: number }): StepTime[];
  /** Frees the memory of the model, which cannot be used after. */
  dispose(): void;
}

/** Options of `load`. */
export interface LoadOptions {
  /** `false` avoids relaxed SIMD instructions, whose results in float networks differ between processors in the last digits. */
  relaxed?: boolean;
  /** Address or bytes of the WebAssembly module, if it cannot be found next to `index.js`. */
  wasm?: string | URL | BufferSource;
}

/** Loads a model. `weights` is the address or the bytes of other packed weights of the same network. */
export function load(weights?: string | URL | BufferSource | null, options?: LoadOptions): Promise<Model>;
