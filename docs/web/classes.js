// The classes with the highest scores, and the time that they took.
import { bar, element, milliseconds, percent } from "./dom.js";

const SHOWN = 5;
/** Number of times in the median. */
const TIMES = 30;

/** Runs of a still picture, whose median is shown; the first ones are slower. */
const STILL_RUNS = 15;

/** Milliseconds between two announcements to a screen reader, while the camera runs. */
const PAUSE = 3000;

export function classes(model) {
  let times = [];
  let spoken = { label: "", at: -PAUSE };

  return async function update(source, live) {
    if (!live) times = [];
    let best;
    for (let run = 0; run < (live ? 1 : STILL_RUNS); run++) {
      const start = performance.now();
      best = await model.classify(source, { top: SHOWN });
      times.push(performance.now() - start);
    }
    times = times.slice(-TIMES);
    const name = ({ index, label }) => label ?? `class ${index}`;
    element("classes").replaceChildren(...best.map((one) => bar(name(one), percent(one.score), one.score)));
    const median = times.toSorted((a, b) => a - b)[times.length >> 1];
    element("speed").textContent = `${milliseconds(median)} per picture, including reading the pixels and resizing.`;
    speak(name(best[0]), best[0].score, live);
  };

  function speak(label, score, live) {
    const now = performance.now();
    if (live && (label === spoken.label || now - spoken.at < PAUSE)) return;
    spoken = { label, at: now };
    element("spoken").textContent = `${label}, ${percent(score)}`;
  }
}
