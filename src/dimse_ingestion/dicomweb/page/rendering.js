// Rendered images, the last few kept: so the next one, asked for ahead, is there when it is wanted.

import { picture } from "./asking.js";

const MOST_KEPT = 24;
const kept = new Map(); // address → promise of a decoded image

/** The image at this address, decoded. */
export function rendered(path, parameters) {
  const key = `${path}?${new URLSearchParams(parameters)}`;
  const known = kept.get(key) ?? decoded(path, parameters);
  kept.delete(key);
  kept.set(key, known);
  known.catch(() => kept.delete(key));
  if (kept.size > MOST_KEPT) drop(kept.keys().next().value);
  return known;
}

/** Forget them all: another series is looked at. */
export function forget() {
  [...kept.keys()].forEach(drop);
}

function drop(key) {
  kept.get(key).then((image) => URL.revokeObjectURL(image.src), () => {});
  kept.delete(key);
}

async function decoded(path, parameters) {
  const image = new Image();
  image.src = await picture(`${path}/rendered`, parameters);
  await image.decode();
  return image;
}
