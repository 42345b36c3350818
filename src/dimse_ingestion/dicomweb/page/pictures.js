// Thumbnails, requested when they become visible and cancelled when they are hidden before.

import { picture } from "./api.js";
import { made } from "./building.js";

const MARGIN = "200px";
const SIDE = 160;
const AT_ONCE = 6;

const waiting = [];
let atWork = 0;
const watched = new WeakMap();
const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) queue(target);
  },
  { rootMargin: MARGIN },
);

/** A box that will show the thumbnail at this address; `label` stands there meanwhile. */
export function thumbnail(path, label) {
  const box = made("span", "thumbnail", made("span", "", label));
  box.setAttribute("aria-hidden", "true");
  watched.set(box, path);
  observer.observe(box);
  return box;
}

function queue(box) {
  observer.unobserve(box);
  waiting.push(box);
  work();
}

function work() {
  while (atWork < AT_ONCE && waiting.length) {
    const box = waiting.shift();
    if (!box.isConnected) continue;
    atWork += 1;
    fill(box).finally(() => {
      atWork -= 1;
      work();
    });
  }
}

async function fill(box) {
  try {
    const side = Math.round(SIDE * Math.min(window.devicePixelRatio || 1, 2));
    const url = await picture(`${watched.get(box)}/thumbnail`, { viewport: `${side},${side}` });
    const image = made("img");
    image.alt = "";
    image.src = url;
    await image.decode().finally(() => URL.revokeObjectURL(url));
    box.replaceChildren(image);
  } catch {
    box.classList.add("none"); // what has no picture keeps its label
  }
}
