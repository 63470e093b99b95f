// A worker that holds one model. `pool.js` starts it. It answers each message `{ id, method, given }` with
// `{ id, result }` or `{ id, error }`.
import { load } from "./index.js";

const loading = load();
// Calls report the reason.
loading.catch(() => {});

addEventListener("message", async ({ data: { id, method, given } }) => {
  try {
    const model = await loading;
    const result = method === "info" ? { info: model.info, labels: model.labels } : await model[method](...given);
    postMessage({ id, result });
  } catch (error) {
    postMessage({ id, error: error.message });
  }
});
