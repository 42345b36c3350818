// Who sent a series, by its first instance: the modality's AE title, the proxy, and when.

import { object } from "./api.js";
import { byId } from "./building.js";

/** Show who sent an instance; nothing where that is not known, for it is an addition. */
export async function showOrigin(path, signal) {
  const origin = await object(`${path}/origin`, signal).catch(() => ({}));
  if (!signal.aborted) byId("origin").textContent = described(origin);
}

export function clearOrigin() {
  byId("origin").textContent = "";
}

function described({ callingAeTitle, proxyId, receivedAt }) {
  if (!callingAeTitle) return "";
  const proxy = proxyId ? ` by proxy ${proxyId}` : "";
  const at = receivedAt ? `, ${receivedAt.slice(0, 16).replace("T", " ")} UTC` : "";
  return `Received from ${callingAeTitle}${proxy}${at}`;
}
