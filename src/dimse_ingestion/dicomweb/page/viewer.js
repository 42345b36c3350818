// One series, image by image and frame by frame, rendered by the service to the size it is shown at.

import { query } from "./api.js";
import { byId } from "./building.js";
import { clearOrigin, showOrigin } from "./origin.js";
import { counted, number, text, values } from "./reading.js";
import { forget, rendered } from "./rendering.js";

const STEP = 256; // sizes are rounded up to steps, so that caches hold few sizes of an image
const LARGEST = 2048;
const MOST_PAGES = 20;
const state = {
  path: "",
  instances: [],
  index: 0,
  frame: 1,
  isWanted: false,
  isAtWork: false,
  controller: new AbortController(),
};
let announce = () => {};

/** Attach handlers to the viewer's controls; `guarded` reports errors. */
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
  state.controller.abort();
  state.instances = [];
  state.isWanted = false;
  byId("viewer").hidden = true;
  clearOrigin();
  forget();
}

/** Ask for the instances of a series, and show the first. */
export async function showSeries(path) {
  clearViewer();
  state.controller = new AbortController();
  state.path = path;
  state.instances = (await instances(path, state.controller.signal)).sort(inOrder);
  byId("window-preset").value = "";
  byId("viewer").hidden = state.instances.length === 0;
  byId("image-number").max = state.instances.length;
  byId("image-control").hidden = state.instances.length < 2;
  toImage(0);
  const [first] = state.instances;
  if (first) showOrigin(`${path}/instances/${text(first, "SOPInstanceUID")}`, state.controller.signal);
}

async function instances(path, signal) {
  const all = [];
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const parameters = { offset: all.length, includefield: "WindowCenter,WindowWidth" };
    const { matches, isMore } = await query(`${path}/instances`, parameters, signal);
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
  state.frame = middleFrame(index);
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

/** What an image of several frames is shown by first, as its thumbnail is. */
function middleFrame(index) {
  return Math.floor(frameCount(index) / 2) + 1;
}

function frameCount(index = state.index) {
  return Math.max(1, number(state.instances[index], "NumberOfFrames", 1));
}

/** Show what is wanted now. While a picture is awaited others may be wanted: only the last is. */
async function show() {
  tell(state.instances[state.index]);
  state.isWanted = true;
  if (state.isAtWork) return;
  state.isAtWork = true;
  byId("stage").setAttribute("aria-busy", "true");
  try {
    while (state.isWanted) {
      state.isWanted = false;
      await put(state.index, state.frame);
    }
    ahead();
  } finally {
    state.isAtWork = false;
    byId("stage").removeAttribute("aria-busy");
  }
}

async function put(index, frame) {
  const instance = state.instances[index];
  if (!instance) return;
  byId("window").hidden = !number(instance, "Rows");
  if (byId("window").hidden) {
    nothing("This is no image: retrieve it as DICOM to read it.");
    return;
  }
  try {
    const image = await rendered(...addressed(index, frame));
    if (instance === state.instances[index]) replace(image);
  } catch (error) {
    if (error.status === 401) throw error;
    nothing(error.message);
  }
}

function replace(image) {
  image.alt = byId("image-description").textContent;
  image.id = "image";
  byId("image").replaceWith(image);
  byId("no-image").hidden = true;
}

/** Return the URL of a rendered frame, with its parameters. */
function addressed(index, frame) {
  const instance = state.instances[index];
  const parameters = {};
  const side = wantedSide();
  if (Math.max(number(instance, "Rows"), number(instance, "Columns")) > side) {
    parameters.viewport = `${side},${side}`;
  }
  if (byId("window-preset").value) parameters.window = chosenWindow();
  const uid = text(instance, "SOPInstanceUID");
  return [`${state.path}/instances/${uid}/frames/${frame}`, parameters];
}

/** Pixels that the longer side of the stage has, in steps. */
function wantedSide() {
  const { clientWidth, clientHeight } = byId("stage");
  const pixels = Math.max(clientWidth, clientHeight) * (window.devicePixelRatio || 1);
  return Math.min(LARGEST, Math.max(2, Math.ceil(pixels / STEP)) * STEP);
}

/** Ask for the next picture before it is wanted. */
function ahead() {
  const isFrame = state.frame < frameCount();
  const index = isFrame ? state.index : state.index + 1;
  if (!(index in state.instances) || !number(state.instances[index], "Rows")) return;
  const frame = isFrame ? state.frame + 1 : middleFrame(index);
  rendered(...addressed(index, frame)).catch(() => {}); // an error is shown when the image is needed
}

function nothing(why) {
  byId("image").hidden = true;
  byId("no-image").hidden = false;
  byId("no-image").textContent = why;
}

function tell(instance) {
  const size = number(instance, "Rows") && `${text(instance, "Columns")} × ${text(instance, "Rows")}`;
  const facts = [
    `Image ${state.index + 1} of ${state.instances.length}`,
    frameCount() > 1 && `frame ${state.frame} of ${counted(frameCount(), "frame", "frames")}`,
    size,
  ];
  byId("image-description").textContent = facts.filter(Boolean).join(", ");
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
