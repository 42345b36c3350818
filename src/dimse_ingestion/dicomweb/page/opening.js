// Links to the other viewer that the server may have; without one there are no links.

import { made } from "./building.js";

/** A link that opens a study in it, distinguished by a name; empty without a viewer. */
export function viewerLink(uid, name) {
  const address = document.documentElement.dataset.viewer;
  if (!address) return "";
  const link = made("a", "open", "Open in viewer");
  link.setAttribute("aria-label", `Open in viewer: ${name}`);
  link.href = `${address}?StudyInstanceUIDs=${uid}`;
  return link;
}
