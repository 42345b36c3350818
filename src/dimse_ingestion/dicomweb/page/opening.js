// Leads to the other viewer that the door may serve; where it serves none, there are no links.

import { made } from "./building.js";

/** A link that opens a study in it, told apart by a name; empty where there is none. */
export function viewerLink(uid, name) {
  const address = document.documentElement.dataset.viewer;
  if (!address) return "";
  const link = made("a", "open", "Open in viewer");
  link.setAttribute("aria-label", `Open in viewer: ${name}`);
  link.href = `${address}?StudyInstanceUIDs=${uid}`;
  return link;
}
