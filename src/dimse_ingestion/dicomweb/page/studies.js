// The list of studies: a filter, a page of matches, and the way to the next one.

import { query } from "./api.js";
import { byId, inAnyScript, made } from "./building.js";
import { viewerLink } from "./opening.js";
import { thumbnail } from "./pictures.js";
import { counted, date, names, number, text, time, values } from "./reading.js";

const PAGE = 24;
// The pages before this one, by the study that each began behind; `last` is this page's last study.
const state = { begins: [""], last: "", total: null, controller: new AbortController() };

/** Attach handlers to the list's controls; `search` shows the list and reports errors. */
export function prepareStudies(search) {
  const filter = byId("filter");
  const begin = () => {
    state.begins = [""];
    search();
  };
  filter.addEventListener("submit", (event) => {
    event.preventDefault();
    begin();
  });
  filter.addEventListener("reset", () => setTimeout(begin));
  filter.elements.modality.addEventListener("change", begin);
  byId("previous-page").addEventListener("click", () => turn(state.begins.slice(0, -1), search));
  byId("next-page").addEventListener("click", () => turn([...state.begins, state.last], search));
  byId("studies").addEventListener("keydown", walk);
}

function turn(begins, search) {
  state.begins = begins;
  search();
  byId("content").focus();
  window.scrollTo(0, 0);
}

/** Ask for the page of studies, and show it. */
export async function showStudies() {
  state.controller.abort();
  state.controller = new AbortController();
  const list = byId("studies");
  list.setAttribute("aria-busy", "true");
  try {
    const after = state.begins.at(-1);
    const position = after ? { after } : { total: true };
    const parameters = { ...wanted(), limit: PAGE, ...position };
    const answer = await query("studies", parameters, state.controller.signal);
    list.replaceChildren(...answer.matches.map(row));
    if (!after) state.total = answer.total;
    state.last = answer.matches.length ? text(answer.matches.at(-1), "StudyInstanceUID") : after;
    tell(answer.matches.length, answer.isMore);
  } finally {
    list.removeAttribute("aria-busy");
  }
}

function wanted() {
  const { name, id, from, to, modality } = byId("filter").elements;
  const parameters = {};
  if (name.value.trim()) parameters.PatientName = anywhere(name.value.trim().replace(/,\s*/, "^"));
  if (id.value.trim()) parameters.PatientID = anywhere(id.value.trim());
  if (from.value || to.value) parameters.StudyDate = `${digits(from.value)}-${digits(to.value)}`;
  if (modality.value) parameters.ModalitiesInStudy = modality.value;
  return parameters;
}

function anywhere(typed) {
  return /[*?]/.test(typed) ? typed : `*${typed}*`;
}

function digits(day) {
  return day.replaceAll("-", "");
}

function tell(count, isMore) {
  const isFiltered = Object.keys(wanted()).length > 0;
  const nothing = byId("nothing");
  nothing.hidden = count > 0;
  nothing.textContent = isFiltered
    ? "No study matches: take something out of the filter."
    : "There is no study here yet: send one by C-STORE or STOW-RS.";
  const before = (state.begins.length - 1) * PAGE;
  byId("pages").hidden = !isMore && before === 0;
  byId("previous-page").disabled = before === 0;
  byId("next-page").disabled = !isMore;
  const total = state.total === null ? "" : ` of ${state.total}`;
  byId("page-description").textContent = count
    ? `Studies ${before + 1} to ${before + count}${total}`
    : "No more studies";
}

function row(study) {
  const uid = text(study, "StudyInstanceUID");
  const modalities = values(study, "ModalitiesInStudy").join(" ");
  const [name = "No name", ...others] = names(study);
  const link = made(
    "a",
    "study",
    thumbnail(`studies/${uid}`, modalities),
    made(
      "span",
      "who",
      inAnyScript("strong", "", name),
      ...others.map((each) => inAnyScript("span", "other", each)),
      inAnyScript("span", "id", text(study, "PatientID")),
    ),
    made("span", "when", date(study, "StudyDate"), " ", made("span", "faint", time(study, "StudyTime"))),
    made("span", "modality", modalities),
    inAnyScript("span", "what", text(study, "StudyDescription")),
    made("span", "counts", counts(study)),
  );
  link.href = `#study=${uid}`;
  return made("li", "", link, viewerLink(uid, name));
}

function counts(study) {
  const series = counted(number(study, "NumberOfStudyRelatedSeries"), "series", "series");
  const instances = number(study, "NumberOfStudyRelatedInstances");
  return `${series}, ${counted(instances, "instance", "instances")}`;
}

/** Arrow keys go from study to study, as Tab does. */
function walk(event) {
  const steps = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" };
  const step = steps[event.key];
  const next = step && event.target.closest("li")?.[step];
  if (!next) return;
  event.preventDefault();
  next.firstElementChild.focus();
}
