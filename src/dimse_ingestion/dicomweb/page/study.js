// A study: who and when, and its series. What a series shows is the viewer's matter.

import { query } from "./api.js";
import { byId, inAnyScript, made } from "./building.js";
import { viewerLink } from "./opening.js";
import { thumbnail } from "./pictures.js";
import { counted, date, names, number, text, time } from "./reading.js";
import { clearViewer, showSeries } from "./viewer.js";

let controller = new AbortController();

/** Request a study and its series, and show the first; `guarded` reports errors. */
export async function showStudy(uid, guarded) {
  controller.abort();
  controller = new AbortController();
  const { signal } = controller;
  clearViewer();
  byId("series").replaceChildren();
  tell({});
  const [studies, series] = await Promise.all([
    query("studies", { StudyInstanceUID: uid }, signal),
    query(`studies/${uid}/series`, {}, signal),
  ]);
  if (!studies.matches.length) throw new Error("This study is not here: it may be another's.");
  tell(studies.matches[0]);
  const cards = series.matches.sort(inOrder).map((each) => card(uid, each, guarded));
  byId("series").replaceChildren(...cards);
  cards[0]?.firstElementChild.click();
  byId("study-name").focus();
}

function tell(study) {
  byId("study-name").textContent = names(study).join(" · ") || (study["0020000D"] ? "No name" : "…");
  const sex = text(study, "PatientSex");
  const birth = date(study, "PatientBirthDate");
  const facts = [
    text(study, "PatientID") && `ID ${text(study, "PatientID")}`,
    [birth && `born ${birth}`, sex].filter(Boolean).join(", "),
    `${date(study, "StudyDate")} ${time(study, "StudyTime")}`.trim(),
    text(study, "StudyDescription"),
    text(study, "AccessionNumber") && `accession ${text(study, "AccessionNumber")}`,
  ];
  const parts = facts.filter(Boolean).map((each) => inAnyScript("span", "", each));
  const uid = text(study, "StudyInstanceUID");
  const link = uid && viewerLink(uid, byId("study-name").textContent);
  byId("study-description").replaceChildren(...[...parts, link].filter(Boolean));
}

function inOrder(one, other) {
  return number(one, "SeriesNumber") - number(other, "SeriesNumber");
}

function card(study, series, guarded) {
  const path = `studies/${study}/series/${text(series, "SeriesInstanceUID")}`;
  const modality = text(series, "Modality");
  const count = number(series, "NumberOfSeriesRelatedInstances");
  const button = made(
    "button",
    "card",
    thumbnail(path, modality),
    made(
      "span",
      "",
      made("strong", "", `${modality} ${text(series, "SeriesNumber")}`.trim()),
      inAnyScript("span", "what", text(series, "SeriesDescription")),
      made("span", "faint", counted(count, "instance", "instances")),
    ),
  );
  button.type = "button";
  button.addEventListener("click", () => {
    for (const each of byId("series").querySelectorAll("button")) {
      each.setAttribute("aria-pressed", String(each === button));
    }
    guarded(() => showSeries(path));
  });
  return made("li", "", button);
}
