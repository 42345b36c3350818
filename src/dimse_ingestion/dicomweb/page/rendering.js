// A cache of the last rendered images, so that the next image, fetched ahead, is shown at once.

import { picture } from "./api.js";

const CACHE_SIZE = 24;
const cache = new Map(); // address → promise of a decoded image

/** The image at this address, decoded. */
export function rendered(path, parameters) {
  const key = `${path}?${new URLSearchParams(parameters)}`;
  const known = cache.get(key) ?? decoded(path, parameters);
  cache.delete(key);
  cache.set(key, known);
  known.catch(() => cache.delete(key));
  if (cache.size > CACHE_SIZE) drop(cache.keys().next().value);
  return known;
}

/** Forget them all: another series is looked at. */
export function forget() {
  [...cache.keys()].forEach(drop);
}

function drop(key) {
  cache.get(key).then((image) => URL.revokeObjectURL(image.src), () => {});
  cache.delete(key);
}

async function decoded(path, parameters) {
  const image = new Image();
  image.src = await picture(`${path}/rendered`, parameters);
  await image.decode();
  return image;
}
