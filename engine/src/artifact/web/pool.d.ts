import type { Guess, Info, Picture } from "./index.js";

/** Workers with one model each, which classify pictures at the same time. */
export class Pool {
  /** `size` is the number of workers (at most 4); each has its own copy of the weights. */
  constructor(size?: number);
  /** As the method of a model, in the worker that has the fewest calls. */
  classify(source: Picture, options?: { top?: number }): Promise<Guess[]>;
  /** As the method of a model. */
  embed(source: Picture): Promise<Float32Array>;
  /** Facts of the network, and the labels of its classes. */
  info(): Promise<{ info: Info; labels: readonly string[] }>;
  /** Stops the workers. Calls that have no answer yet fail. */
  close(): void;
}
