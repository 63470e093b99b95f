// Classifies a picture that is dropped, pasted or chosen. Pictures do not leave the page.
import { load } from "./index.js";

const [facts, drop, file, hint, picture, guesses, time] = [
  "facts", "drop", "file", "hint", "picture", "guesses", "time",
].map((id) => document.getElementById(id));

let model;

async function start() {
  const begin = performance.now();
  model = await load();
  const ms = Math.round(performance.now() - begin);
  const { input, classes, precision, isa, relaxed } = model.info;
  const module = relaxed ? "relaxed SIMD" : "SIMD";
  facts.textContent =
    `${input[1]}×${input[0]}, ${classes} classes, ${precision}, WebAssembly with ${module} (${isa} kernels), loaded in ${ms} ms`;
}

async function show(blob) {
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(blob);
  [picture.hidden, hint.hidden] = [false, true];
  await loading;
  await picture.decode().catch(() => {}); // `classify` reports it
  const begin = performance.now();
  const best = await model.classify(blob);
  time.textContent = `${(performance.now() - begin).toFixed(1)} ms, including decoding and resizing`;
  guesses.replaceChildren(...best.map(row));
}

/** A class with a bar. */
function row({ index, label, score }) {
  const isShare = ["softmax", "sigmoid"].includes(model.info.activation);
  const [line, name, value, bar] = ["li", "span", "b", "i"].map((tag) => document.createElement(tag));
  name.textContent = label ?? `class ${index}`;
  value.textContent = isShare ? `${(score * 100).toFixed(1)} %` : score.toFixed(3);
  if (isShare) bar.style.setProperty("--share", `${score * 100}%`);
  line.append(name, value, bar);
  return line;
}

function fail(error) {
  guesses.replaceChildren();
  time.textContent = `Error: ${error.message}`;
}

const loading = start();
loading.catch(fail);

function take(files) {
  if (files?.length > 0) show(files[0]).catch(fail);
}

file.addEventListener("change", () => take(file.files));
document.addEventListener("paste", (event) => take(event.clipboardData.files));
for (const name of ["dragover", "drop", "dragleave"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") take(event.dataTransfer.files);
  });
}
