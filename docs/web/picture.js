// The picture that is shown: a file, a sample, or frames of a camera.
import { create, element } from "./dom.js";

const [frame, image, video, hint] = ["picture", "image", "video", "hint"].map(element);
const camera = element("camera");

/**
 * Shows the pictures that the user gives. `onPicture(source, live)` is called for each picture and each frame of the camera,
 * and the next frame waits for it; `onProblem(text)` if there is no picture.
 */
export function watch(onPicture, onProblem) {
  /** The stream of the camera, if it runs. */
  let stream = null;
  /** Incremented for each picture, so that late results of an earlier one are discarded. */
  let shown = 0;

  async function show(blob, name) {
    stop();
    const mine = ++shown;
    const address = URL.createObjectURL(blob);
    image.src = address;
    image.alt = name;
    try {
      await image.decode();
    } catch {
      if (mine === shown) onProblem(`${name} is not a picture that this browser can decode.`);
      return;
    } finally {
      URL.revokeObjectURL(address);
    }
    if (mine !== shown) return;
    [image.hidden, video.hidden, hint.hidden] = [false, true, true];
    await onPicture(image, false);
  }

  async function start() {
    const mine = ++shown;
    let opened;
    try {
      if (!navigator.mediaDevices) throw new Error("it requires HTTPS or localhost");
      opened = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 640 } } });
    } catch (cause) {
      onProblem(`Cannot use the camera: ${cause.message}`);
      return;
    }
    if (mine !== shown) {
      opened.getTracks().forEach((track) => track.stop());
      return;
    }
    stream = opened;
    video.srcObject = opened;
    video.classList.toggle("mirrored", opened.getVideoTracks()[0].getSettings().facingMode !== "environment");
    await video.play();
    [image.hidden, video.hidden, hint.hidden] = [true, false, true];
    label(true);
    while (stream === opened) {
      await onPicture(video, true);
      await new Promise(requestAnimationFrame);
    }
  }

  function stop() {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    video.srcObject = null;
    label(false);
  }

  function label(runs) {
    camera.setAttribute("aria-pressed", String(runs));
    camera.textContent = runs ? "Stop the camera" : "Use the camera";
  }

  function take(files) {
    const file = [...files].find(({ type }) => type.startsWith("image/"));
    if (file) show(file, file.name);
    else onProblem("That is not a picture.");
  }

  camera.addEventListener("click", () => (stream ? stop() : start()));
  element("file").addEventListener("change", ({ target }) => {
    if (target.files.length > 0) take(target.files);
    target.value = ""; // The same file can be chosen again.
  });
  addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files.length > 0) take(clipboardData.files);
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    frame.classList.add("over");
  });
  addEventListener("dragleave", () => frame.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    frame.classList.remove("over");
    take(event.dataTransfer.files);
  });
  return { show };
}

/** Lists the samples, and calls `onChosen(blob, name)` with the selected one. Returns a function that selects the first. */
export async function samples(onChosen, onProblem) {
  const fetched = async (path) => {
    const response = await fetch(path);
    if (!response.ok) throw new Error(`${path}: status ${response.status}`);
    return response;
  };
  const files = await (await fetched("samples/index.json")).json();
  const choose = async (file, name) => {
    try {
      await onChosen(await (await fetched(`samples/${file}`)).blob(), name);
    } catch (cause) {
      onProblem(`Cannot load the sample: ${cause.message}`);
    }
  };
  const nameOf = (file) => file.replace(/\.\w+$/, "").replaceAll("-", " ");
  const rows = files.map((file) => {
    const name = nameOf(file);
    const picture = create("img", { src: `samples/${file}`, alt: name, width: 64, height: 64 });
    const button = create("button", { type: "button", title: name }, picture);
    button.addEventListener("click", () => choose(file, name));
    return create("li", {}, button);
  });
  element("samples").append(...rows);
  return () => choose(files[0], nameOf(files[0]));
}
