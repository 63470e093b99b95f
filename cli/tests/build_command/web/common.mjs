// What the scripts of this folder share: a server on localhost, and the flags of Chromium.
import { createServer } from "node:http";
import { extname } from "node:path";

const TYPES = {
  ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm", ".png": "image/png",
  ".jpg": "image/jpeg", ".svg": "image/svg+xml", ".json": "application/json",
};

/** Flags for a browser in a sandbox without a network. */
export const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync",
];

/** The name of the packed weights that the module with kernels for `isa` reads. Modules of float networks share one file. */
export const weightsOf = (stem, isa) => `${stem}${{ wasm128pairs: ".relaxed", wasm128dot: ".dot" }[isa] ?? ""}.weights`;

/** The content type of a file. */
export const typeOf = (path) => TYPES[extname(path)] ?? "application/octet-stream";

/**
 * Serves what `answer(url, request)` returns: `{ type, body, policy }`, with a content security policy if there is one.
 * If it throws, the status is 404.
 */
export async function serve(answer) {
  const server = createServer(async (request, response) => {
    try {
      const { type, body, policy = "" } = await answer(new URL(request.url, "http://localhost"), request);
      response.writeHead(200, { "Content-Type": type, "Content-Security-Policy": policy }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { origin: `http://127.0.0.1:${server.address().port}`, close };
}
