// One series, image by image and frame by frame, rendered by the service to the size it is shown at.

import { found, picture } from "./asking.js";
import { byId } from "./building.js";
import { counted, number, text, values } from "./reading.js";

const STEP = 256; // sizes are asked for in steps, so that a cache has them
const LARGEST = 2048;
const MOST_PAGES = 20;
const state = { path: "", instances: [], index: 0, frame: 1, asking: new AbortController() };
let announce = () => {};

/** Have the viewer's controls do what they say; `guarded` tells of what is refused. */
export function prepareViewer(guarded) {
  announce = (show) => guarded(show);
  byId("previous-image").addEventListener("click", () => toImage(state.index - 1));
  byId("next-image").addEventListener("click", () => toImage(state.index + 1));
  byId("previous-frame").addEventListener("click", () => toFrame(state.frame - 1));
  byId("next-frame").addEventListener("click", () => toFrame(state.frame + 1));
  byId("image-number").addEventListener("input", ({ target }) => toImage(target.valueAsNumber - 1));
  byId("frame-number").addEventListener("input", ({ target }) => toFrame(target.valueAsNumber));
  byId("window-preset").addEventListener("change", preset);
  byId("window").addEventListener("submit", own);
  byId("stage").addEventListener("wheel", turned, { passive: false });
  document.addEventListener("keydown", pressed);
}

export function clearViewer() {
  state.asking.abort();
  state.instances = [];
  byId("viewer").hidden = true;
}

/** Ask for the instances of a series, and show the first. */
export async function showSeries(path) {
  clearViewer();
  state.asking = new AbortController();
  state.path = path;
  state.instances = (await instances(path, state.asking.signal)).sort(inOrder);
  byId("window-preset").value = "";
  byId("viewer").hidden = state.instances.length === 0;
  byId("image-number").max = state.instances.length;
  byId("image-control").hidden = state.instances.length < 2;
  toImage(0);
}

async function instances(path, signal) {
  const all = [];
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const parameters = { offset: all.length, includefield: "WindowCenter,WindowWidth" };
    const { matches, isMore } = await found(`${path}/instances`, parameters, signal);
    all.push(...matches);
    if (!isMore) break;
  }
  return all;
}

function inOrder(one, other) {
  return number(one, "InstanceNumber") - number(other, "InstanceNumber");
}

function toImage(index) {
  if (!(index in state.instances)) return;
  state.index = index;
  const frames = frameCount();
  state.frame = Math.floor(frames / 2) + 1; // as the service does, and thumbnails show
  byId("image-number").value = index + 1;
  byId("frame-number").max = frames;
  byId("frame-control").hidden = frames < 2;
  toFrame(state.frame);
}

function toFrame(frame) {
  if (frame < 1 || frame > frameCount()) return;
  state.frame = frame;
  byId("frame-number").value = frame;
  byId("previous-image").disabled = state.index === 0;
  byId("next-image").disabled = state.index === state.instances.length - 1;
  byId("previous-frame").disabled = frame === 1;
  byId("next-frame").disabled = frame === frameCount();
  announce(show);
}

function frameCount(index = state.index) {
  return Math.max(1, number(state.instances[index], "NumberOfFrames", 1));
}

async function show() {
  state.asking.abort();
  state.asking = new AbortController();
  const { signal } = state.asking;
  const instance = state.instances[state.index];
  tell(instance);
  if (!number(instance, "Rows")) {
    nothing("This is no image: retrieve it as DICOM to read it.");
    return;
  }
  byId("stage").setAttribute("aria-busy", "true");
  try {
    await put(await rendered(state.index, state.frame, signal), signal);
    ahead(signal);
  } catch (error) {
    if (error.name === "AbortError" || error.status === 401) throw error;
    nothing(error.message);
  } finally {
    if (!signal.aborted) byId("stage").removeAttribute("aria-busy");
  }
}

function rendered(index, frame, signal) {
  const instance = state.instances[index];
  const path = `${state.path}/instances/${text(instance, "SOPInstanceUID")}/frames/${frame}`;
  const parameters = {};
  const side = wantedSide();
  if (Math.max(number(instance, "Rows"), number(instance, "Columns")) > side) {
    parameters.viewport = `${side},${side}`;
  }
  if (byId("window-preset").value) parameters.window = chosenWindow();
  return picture(`${path}/rendered`, parameters, signal);
}

/** Pixels that the longer side of the stage has, in steps. */
function wantedSide() {
  const { clientWidth, clientHeight } = byId("stage");
  const pixels = Math.max(clientWidth, clientHeight) * (window.devicePixelRatio || 1);
  return Math.min(LARGEST, Math.max(2, Math.ceil(pixels / STEP)) * STEP);
}

async function put(url, signal) {
  const loading = new Image();
  loading.src = url;
  try {
    await loading.decode();
    if (signal.aborted) return;
    const image = byId("image");
    image.src = url;
    await image.decode();
    image.alt = byId("image-told").textContent;
    image.hidden = false;
    byId("no-image").hidden = true;
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** The next picture, asked for before it is wanted: the browser keeps it, or at least its way. */
function ahead(signal) {
  const isFrame = state.frame < frameCount();
  const index = isFrame ? state.index : state.index + 1;
  if (!(index in state.instances) || !number(state.instances[index], "Rows")) return;
  const frame = isFrame ? state.frame + 1 : Math.floor(frameCount(index) / 2) + 1;
  rendered(index, frame, signal).then(URL.revokeObjectURL, () => {});
}

function nothing(why) {
  byId("image").hidden = true;
  byId("no-image").hidden = false;
  byId("no-image").textContent = why;
}

function tell(instance) {
  const size = number(instance, "Rows") && `${text(instance, "Columns")} × ${text(instance, "Rows")}`;
  const told = [
    `Image ${state.index + 1} of ${state.instances.length}`,
    frameCount() > 1 && `frame ${state.frame} of ${counted(frameCount(), "frame", "frames")}`,
    size,
  ];
  byId("image-told").textContent = told.filter(Boolean).join(", ");
  if (byId("window-preset").value) return;
  byId("window-center").value = values(instance, "WindowCenter")[0] ?? "";
  byId("window-width").value = values(instance, "WindowWidth")[0] ?? "";
}

function chosenWindow() {
  return `${byId("window-center").value},${byId("window-width").value},linear`;
}

function preset({ target }) {
  if (target.value.includes(",")) {
    const [center, width] = target.value.split(",");
    byId("window-center").value = center;
    byId("window-width").value = width;
  }
  if (target.value !== "own") announce(show);
}

function own(event) {
  event.preventDefault();
  if (!byId("window-center").value || !byId("window-width").value) return;
  byId("window-preset").value = "own";
  announce(show);
}

function turned(event) {
  if (event.ctrlKey || state.instances.length + frameCount() < 3) return;
  event.preventDefault();
  step(event.deltaY > 0 ? 1 : -1);
}

function step(by) {
  if (frameCount() > 1) toFrame(state.frame + by);
  else toImage(state.index + by);
}

const KEYS = {
  ArrowLeft: () => toImage(state.index - 1),
  ArrowRight: () => toImage(state.index + 1),
  ArrowUp: () => toFrame(state.frame - 1),
  ArrowDown: () => toFrame(state.frame + 1),
  Home: () => toImage(0),
  End: () => toImage(state.instances.length - 1),
  Escape: () => byId("study").querySelector(".back").click(),
};

function pressed(event) {
  if (byId("study").hidden || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.matches("input, select") && event.key !== "Escape") return;
  const isVertical = event.key === "ArrowUp" || event.key === "ArrowDown";
  if (!(event.key in KEYS) || (isVertical && !(state.instances.length && frameCount() > 1))) return;
  event.preventDefault();
  KEYS[event.key]();
}
