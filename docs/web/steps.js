// The time of each step of the network, in a list and in the picture of the network.
import { bar, element, milliseconds, percent } from "./dom.js";

/** Browser clocks are coarse, so the mean is taken over many calls. */
const MEASURED_MS = 500;
const MOST_RUNS = 2000;
const SVG = "http://www.w3.org/2000/svg";

export async function steps(model, onProblem) {
  const button = element("measure");
  button.disabled = false;
  button.addEventListener("click", () => {
    try {
      const trial = sum(model.profile({ runs: 10 }));
      const runs = Math.max(10, Math.min(MOST_RUNS, Math.round(MEASURED_MS / trial)));
      show(model.profile({ runs }), runs);
    } catch (cause) {
      onProblem(`Cannot measure the steps: ${cause.message}`);
    }
  });

  const response = await fetch("network.svg");
  if (!response.ok) throw new Error(`network.svg: status ${response.status}`);
  // The page's own style sheet has these rules; the content security policy forbids them here.
  const text = (await response.text()).replace(/<style>.*?<\/style>/s, "");
  const drawn = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  element("graph").append(drawn);
  /** The names in the left column, which are also those of the profile, with spaces. */
  const labels = new Map([...drawn.querySelectorAll("text")].reverse().map((text) => [text.textContent.replace(/\s/g, ""), text]));

  function show(measured, runs) {
    const total = sum(measured);
    const most = Math.max(...measured.map(({ ms }) => ms));
    const text = ({ ms }) => `${milliseconds(ms)}, ${percent(ms / total)}`;
    element("steps").replaceChildren(...measured.map((step) => bar(step.name, text(step), step.ms / most)));
    element("steps-total").textContent = `${milliseconds(total)} in total, the mean of ${runs} calls.`;
    drawn.querySelectorAll(".time").forEach((time) => time.remove());
    for (const step of measured) {
      const label = labels.get(step.name);
      if (!label) continue;
      const time = document.createElementNS(SVG, "text");
      time.textContent = text(step);
      const place = { class: "time", x: label.getAttribute("x"), y: Number(label.getAttribute("y")) + 50, "font-size": 12, fill: "#1d4ed8" };
      Object.entries(place).forEach(([name, value]) => time.setAttribute(name, value));
      label.after(time);
    }
  }
}

function sum(measured) {
  return measured.reduce((total, { ms }) => total + ms, 0);
}
