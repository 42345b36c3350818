// What the address after # says is shown: `#study=UID` a study, else the list of studies.

import { RequestError, useToken } from "./api.js";
import { byId } from "./building.js";
import { prepareStudies, showStudies } from "./studies.js";
import { showStudy } from "./study.js";
import { prepareViewer } from "./viewer.js";

const UID = /^#study=([0-9.]{1,64})$/;

/** Do it, and say what was refused. */
async function guarded(action) {
  try {
    await action();
    notice("");
  } catch (error) {
    if (error.name !== "AbortError") refused(error);
  }
}

function refused(error) {
  notice(error.message);
  if (!(error instanceof RequestError && error.needsToken)) return;
  byId("token").hidden = false;
  byId("list").hidden = byId("study").hidden = true;
  byId("token-value").focus();
}

function notice(sentence) {
  byId("notice").textContent = sentence;
  byId("notice").hidden = !sentence;
}

let leftFrom = "";

async function show() {
  const study = UID.exec(location.hash)?.[1];
  byId("token").hidden = true;
  byId("list").hidden = Boolean(study);
  byId("study").hidden = !study;
  if (study) {
    leftFrom = location.hash;
    await guarded(() => showStudy(study, guarded));
    return;
  }
  await guarded(showStudies);
  comeBack();
}

/** Return to the study that was open, so that a keyboard goes on from there. */
function comeBack() {
  const links = [...byId("studies").querySelectorAll("a")];
  links.find((each) => leftFrom && each.hash === leftFrom)?.focus();
  leftFrom = "";
}

byId("token").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(byId("token-value").value);
  byId("token").reset();
  show();
});
prepareStudies(() => guarded(showStudies));
prepareViewer(guarded);
window.addEventListener("hashchange", show);
show();
