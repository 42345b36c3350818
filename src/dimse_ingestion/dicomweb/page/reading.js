// Values of DICOM JSON (PS3.18 annex F), as text for people.

const TAGS = {
  SOPInstanceUID: "00080018",
  StudyDate: "00080020",
  StudyTime: "00080030",
  AccessionNumber: "00080050",
  Modality: "00080060",
  ModalitiesInStudy: "00080061",
  StudyDescription: "00081030",
  SeriesDescription: "0008103E",
  PatientName: "00100010",
  PatientID: "00100020",
  PatientBirthDate: "00100030",
  PatientSex: "00100040",
  StudyInstanceUID: "0020000D",
  SeriesInstanceUID: "0020000E",
  SeriesNumber: "00200011",
  InstanceNumber: "00200013",
  NumberOfStudyRelatedSeries: "00201206",
  NumberOfStudyRelatedInstances: "00201208",
  NumberOfSeriesRelatedInstances: "00201209",
  NumberOfFrames: "00280008",
  Rows: "00280010",
  Columns: "00280011",
  WindowCenter: "00281050",
  WindowWidth: "00281051",
};

export function values(dataSet, keyword) {
  return (dataSet[TAGS[keyword]]?.Value ?? []).filter((each) => each !== null && each !== "");
}

export function text(dataSet, keyword) {
  return values(dataSet, keyword).join(", ");
}

/** A number; `otherwise` where there is none. */
export function number(dataSet, keyword, otherwise = 0) {
  const value = Number(values(dataSet, keyword)[0] ?? NaN);
  return Number.isFinite(value) ? value : otherwise;
}

/** The patient's name in each script it is written in, the alphabetic one first. */
export function names(dataSet) {
  const name = values(dataSet, "PatientName")[0] ?? {};
  return [name.Alphabetic, name.Ideographic, name.Phonetic].filter(Boolean).map(written);
}

function written(group) {
  const [family = "", given = "", middle = "", prefix = "", suffix = ""] = group.split("^");
  const called = [prefix, given, middle, suffix].map((each) => each.trim()).filter(Boolean);
  return [family.trim(), called.join(" ")].filter(Boolean).join(", ");
}

/** YYYYMMDD as YYYY-MM-DD; what is no date as it is. */
export function date(dataSet, keyword) {
  return text(dataSet, keyword).replace(/^(\d{4})\.?(\d{2})\.?(\d{2})$/, "$1-$2-$3");
}

export function time(dataSet, keyword) {
  return text(dataSet, keyword).replace(/^(\d{2}):?(\d{2}).*$/, "$1:$2");
}

export function counted(count, one, several) {
  return `${count} ${count === 1 ? one : several}`;
}
