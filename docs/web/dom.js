// Elements of the page.

/** The element with an identifier. */
export const element = (id) => document.getElementById(id);

/** A new element with properties and children. */
export function create(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** A row of a bar chart: a name, a value as text, and a bar of `share`, which is 0 to 1. */
export function bar(name, text, share) {
  const meter = create("meter", { min: 0, max: 1, value: share });
  meter.setAttribute("aria-hidden", "true"); // The text has the same value.
  return create("li", {}, create("span", { textContent: name, title: name }), create("b", { textContent: text }), meter);
}

/** Milliseconds as text. */
export function milliseconds(ms) {
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  return `${ms.toFixed(ms < 10 ? 2 : 1)} ms`;
}

/** A share as text. */
export const percent = (share) => `${(share * 100).toFixed(1)} %`;
