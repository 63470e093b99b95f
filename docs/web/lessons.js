// Three classes that the user teaches with examples.
import { Centroids } from "./centroids.js";
import { create, element, percent } from "./dom.js";

const NAMES = ["Class A", "Class B", "Class C"];
/** Milliseconds between two examples while a button is held down. */
const PERIOD = 100;

/** Returns a function to call with each picture. `onProblem(text)` is called if an example cannot be read. */
export function lessons(model, onProblem) {
  let centroids = new Centroids(NAMES.length);
  /** The last picture. */
  let picture = null;

  const rows = NAMES.map((name, at) => {
    const input = create("input", { value: name, maxLength: 40, autocomplete: "off" });
    const button = create("button", { type: "button", textContent: "Add an example", disabled: true });
    const count = create("p", { className: "quiet", textContent: "No examples" });
    const meter = create("meter", { min: 0, max: 1, value: 0 });
    meter.setAttribute("aria-label", "Score");
    const label = create("label", {}, "Name", input);
    const row = create("fieldset", { className: "lesson" }, label, button, count, meter);
    row.setAttribute("aria-label", `Class ${at + 1}`);
    whileHeld(button, () => add(at));
    return { row, input, button, count, meter };
  });
  element("lessons").append(...rows.map(({ row }) => row));

  const forget = element("forget");
  forget.addEventListener("click", () => {
    centroids = new Centroids(NAMES.length);
    rows.forEach((row) => {
      row.count.textContent = "No examples";
      row.meter.value = 0;
      row.row.classList.remove("nearest");
    });
    forget.disabled = true;
    element("lesson-result").textContent = "No examples yet.";
  });

  async function add(at) {
    try {
      centroids.add(at, await model.embed(picture));
    } catch (cause) {
      onProblem(`Cannot add the example: ${cause.message}`);
      return;
    }
    const count = centroids.counts[at];
    rows[at].count.textContent = count === 1 ? "1 example" : `${count} examples`;
    forget.disabled = false;
    await compare();
  }

  async function compare() {
    const scores = centroids.scores(await model.embed(picture));
    const nearest = scores.indexOf(Math.max(...scores));
    rows.forEach(({ row, meter }, at) => {
      meter.value = scores[at];
      row.classList.toggle("nearest", at === nearest);
    });
    const text = `${rows[nearest].input.value}, ${percent(scores[nearest])}`;
    const result = element("lesson-result");
    if (result.textContent !== text) result.textContent = text;
  }

  return async function update(source) {
    picture = source;
    rows.forEach(({ button }) => (button.disabled = false));
    if (!centroids.isEmpty) await compare();
  };
}

/** Calls `action` when a button is pressed, and repeatedly while it is held down. */
function whileHeld(button, action) {
  let timer = null;
  const release = () => {
    clearInterval(timer);
    timer = null;
  };
  button.addEventListener("click", (event) => {
    // A pointer has acted already.
    if (event.detail === 0) action();
  });
  button.addEventListener("pointerdown", ({ button: which }) => {
    if (which !== 0 || button.disabled || timer !== null) return;
    action();
    timer = setInterval(action, PERIOD);
  });
  ["pointerup", "pointerleave", "pointercancel", "blur"].forEach((name) => button.addEventListener(name, release));
}
