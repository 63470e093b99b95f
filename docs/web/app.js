// The page: loads the network, and shows what it computes for each picture.
import { load } from "./model/index.js";
import { classes } from "./classes.js";
import { element } from "./dom.js";
import { lessons } from "./lessons.js";
import { samples, watch } from "./picture.js";
import { steps } from "./steps.js";

function problem(text) {
  const place = element("problem");
  place.textContent = text;
  place.hidden = text === "";
}

async function start() {
  const began = performance.now();
  const model = await load();
  const { name, input, classes: count, precision, isa } = model.info;
  const took = Math.round(performance.now() - began);
  element("network").textContent = `${name}, ${input[1]}×${input[0]} pixels, ${count} classes, ${precision} on ${isa}. Loaded in ${took} ms.`;

  const updates = [classes(model), lessons(model, problem)];
  const picture = watch(async (source, live) => {
    try {
      for (const update of updates) await update(source, live);
      problem("");
    } catch (cause) {
      problem(`Cannot classify the picture: ${cause.message}`);
    }
  }, problem);
  const [first] = await Promise.all([samples(picture.show, problem), steps(model, problem)]);
  await first();
}

start().catch((cause) => {
  element("network").textContent = "The network could not be loaded.";
  problem(cause.message);
});
