// Several workers with one model each, for throughput in pages. They share no memory, so that a page needs no
// cross-origin isolation.

/** Workers that classify pictures at the same time. */
export class Pool {
  #workers;
  #calls = new Map();
  #next = 0;
  #reason = "the pool was closed";

  /** `size` is the number of workers; each has its own copy of the weights. */
  constructor(size = Math.min(4, navigator.hardwareConcurrency ?? 1)) {
    this.#workers = Array.from({ length: size }, () => {
      const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
      const state = { worker, pending: 0 };
      worker.addEventListener("message", ({ data }) => this.#answer(state, data));
      worker.addEventListener("error", ({ message }) => this.#lose(state, `the worker failed: ${message ?? "it cannot be loaded"}`));
      return state;
    });
  }

  /** As the method of a model, in the worker that has the fewest calls. */
  classify(source, options) {
    return this.#call("classify", source, options);
  }

  /** As the method of a model. */
  embed(source) {
    return this.#call("embed", source);
  }

  /** Facts of the network, and the labels of its classes. */
  info() {
    return this.#call("info");
  }

  /** Stops the workers. Calls that have no answer yet fail. */
  close() {
    for (const state of [...this.#workers]) {
      state.worker.terminate();
      this.#lose(state, "the pool was closed");
    }
  }

  async #call(method, source, ...more) {
    // Elements of the page cannot be sent to a worker; a bitmap is moved there without a copy.
    const isElement = typeof Element === "function" && source instanceof Element;
    const sent = isElement ? await createImageBitmap(source) : source;
    if (this.#workers.length === 0) throw new Error(this.#reason);
    const state = this.#workers.reduce((one, other) => (other.pending < one.pending ? other : one));
    const id = this.#next++;
    state.worker.postMessage({ id, method, given: [sent, ...more] }, isElement ? [sent] : []);
    state.pending++;
    return new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject, state }));
  }

  #answer(state, { id, result, error }) {
    const call = this.#calls.get(id);
    if (!call) return;
    this.#calls.delete(id);
    state.pending--;
    if (error === undefined) call.resolve(result);
    else call.reject(new Error(error));
  }

  /** Removes a worker, whose calls fail. */
  #lose(lost, reason) {
    this.#reason = reason;
    this.#workers = this.#workers.filter((state) => state !== lost);
    for (const [id, { reject, state }] of this.#calls) {
      if (state !== lost) continue;
      this.#calls.delete(id);
      reject(new Error(reason));
    }
  }
}
