// Measures engines with interleaved calls.
import { contenders } from "./contenders.js";

/** Returns a row for each engine: its name, the milliseconds that it took to load and of each call, and its best class. */
export async function measure(host, precision, runs) {
  const rows = [];
  for (const [engine, load] of Object.entries(contenders(host, precision))) {
    const start = performance.now();
    try {
      const run = await load();
      rows.push({ engine, run, load_ms: performance.now() - start, calls_ms: [] });
    } catch (cause) {
      rows.push({ engine, error: cause.message });
    }
  }
  const running = rows.filter(({ error }) => error === undefined);
  // The first calls run baseline-compiled code.
  for (const { run } of running) for (let call = 0; call < 10; call++) await run();
  for (let call = 0; call < runs; call++) {
    for (const row of running) {
      await row.run(); // Refills the caches.
      const start = performance.now();
      const scores = await row.run();
      row.calls_ms.push(performance.now() - start);
      row.top = scores.indexOf(Math.max(...scores));
    }
  }
  return rows.map(({ run, ...row }) => row);
}
