"""SQL and Python together answer what the standard's rules answer, whatever is stored and asked."""

from typing import Literal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete

from dimse_ingestion.catalogue.recording import record
from dimse_ingestion.catalogue.tables import metadata
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.events.contract import ImageStoredEvent
from dimse_ingestion.queries.contract import Query
from tests.asking import ask
from tests.instances import CT_IMAGE, Expected, elements, event

NAMES = [
    "",
    "Smith^John",
    "smith^john",
    "SMITHERS^J",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "=山田",
    "Люкceмбypг",
    "ЛЮКСЕМБУРГ^Анна",
    "Διονυσιος",
    "ΔΙΟΝΥΣΙΟΣ",
    "قباني^لنزار",
    "שרון^דבורה",
    "Wang^XiaoDong=王^小东",
    "Hong^Gildong=洪^吉洞=홍^길동",
    "Straße^ß",
    "100%_sure\\two",
    "back*slash?",
    "İstanbul",
    "a" * 400,
    "A=Z",
]
TEXTS = [
    "",
    "A1",
    "a1",
    "A12",
    "0A1",
    "B_%",
    "A1\\B2",
    "A" * 400,
    "é",
    " A1 ",
    "Z\ud7ff",
    "\U0010ffff",
]
DATES = ["", "20260101", "2026.01.01", "20251231", "19000101", "nonsense", "20260101\\20250101"]
TIMES = ["", "10", "1030", "103015.5", "235959.999999", "10:30:15"]
NUMBERS = ["", "1", "+1", "01", "10", "-3", "x"]
KEYS = {
    "PatientName": (
        NAMES,
        [
            *NAMES,
            "*",
            "Sm*",
            "s?ith*",
            "*山田*",
            "山*",
            "люк*",
            "διον*",
            "*太郎",
            "*=*",
            "A*Z",
            "=山田",
            "%",
            "*_*",
            "strasse*",
            "Smith^John\\=山田",
            "Yamada*=山田*",
            "*^*=山田^太郎^*=やまだ^?ろう",
            "=山田^*\\wang^*",
            "a=z=",
            "wang*",
            "홍*",
            "ק*",
            "*ה",
            "\U0010ffff*",
        ],
    ),
    "PatientID": (TEXTS, [*TEXTS, "A*", "*1", "?1", "A1\\B_%", "*%*", "Z\ud7ff*", "*"]),
    "IssuerOfPatientID": (["", "H1", "H2"], ["", "H1", "H*"]),
    "PatientBirthDate": (DATES, ["", "20260101", "-20251231", "20260101-", "20250101-20260101"]),
    "StudyDate": (
        DATES,
        ["", "20260101", "-20251231", "20260101-", "20250101-20260101", "2026.01.01"],
    ),
    "StudyTime": (TIMES, ["", "10", "1030-1031", "-11", "103015.5-"]),
    "AccessionNumber": (TEXTS, [*TEXTS, "A*", "A1\\A12"]),
    "StudyID": (TEXTS, [*TEXTS, "a?"]),
    "StudyDescription": (["", "Head", "HEAD\\Neck"], ["", "Head", "*e*", "Neck"]),
    "ReferringPhysicianName": (NAMES[:6], ["", "smith*", "*山田*"]),
    "Modality": (["", "CT", "MR", "PT"], ["", "CT", "C*", "CT\\MR", "?T"]),
    "SeriesNumber": (NUMBERS, ["", "1", "10", "2\\1"]),
    "InstanceNumber": (NUMBERS, ["", "1", "-3"]),
    "SpecificCharacterSet": (["", "ISO_IR 192"], [""]),
    "ModalitiesInStudy": ([], ["", "CT", "CT\\PT", "M*"]),
    "SOPClassesInStudy": ([], ["", CT_IMAGE, "1.2.3", f"{CT_IMAGE}\\1.2.3"]),
    "SOPClassUID": ([CT_IMAGE, "1.2.3"], ["", "1.2.3"]),
    "NumberOfPatientRelatedStudies": ([], [""]),
    "NumberOfPatientRelatedSeries": ([], [""]),
    "NumberOfPatientRelatedInstances": ([], ["", "2"]),
    "NumberOfStudyRelatedSeries": ([], ["", "1"]),
    "NumberOfStudyRelatedInstances": ([], [""]),
    "NumberOfSeriesRelatedInstances": ([], [""]),
}
LEVELS = {
    "PATIENT": ["PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate"]
    + [each for each in KEYS if each.startswith("NumberOfPatient")],
}
LEVELS["STUDY"] = [
    *LEVELS["PATIENT"],
    *("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription"),
    *("ReferringPhysicianName", "ModalitiesInStudy", "SOPClassesInStudy", "StudyInstanceUID"),
    *("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
]
LEVELS["SERIES"] = [
    *LEVELS["STUDY"],
    *("Modality", "SeriesNumber", "NumberOfSeriesRelatedInstances", "SeriesInstanceUID"),
]
LEVELS["IMAGE"] = [*LEVELS["SERIES"], "InstanceNumber", "SOPClassUID", "SOPInstanceUID"]
STUDIES, SERIES, INSTANCES = ["1.1", "1.2", "1.3"], ["2.1", "2.2"], ["3.1", "3.2", "3.3", "3.4"]
UNIQUE = {
    "StudyInstanceUID": [*STUDIES, "1.1\\1.3", ""],
    "SeriesInstanceUID": [*SERIES, ""],
    "SOPInstanceUID": [*INSTANCES, "3.1\\3.2", ""],
}


@st.composite
def events(draw: st.DrawFn) -> ImageStoredEvent:
    told = draw(st.sets(st.sampled_from([each for each in KEYS if KEYS[each][0]]), max_size=8))
    name = draw(st.sampled_from("abcdefgh"))
    return event(
        name,
        second=ord(name) % 5 * 10,
        study=draw(st.sampled_from(STUDIES)),
        series=draw(st.sampled_from(SERIES)),
        instance=draw(st.sampled_from(INSTANCES)),
        **{each: draw(st.sampled_from(KEYS[each][0])) for each in sorted(told)},
    )


@st.composite
def queries(draw: st.DrawFn) -> Query:
    scope = draw(st.sampled_from(sorted(LEVELS)))
    keys = draw(st.sets(st.sampled_from(LEVELS[scope]), max_size=4))
    values = {
        each: draw(st.sampled_from(KEYS[each][1] if each in KEYS else UNIQUE[each]))
        for each in sorted(keys)
    }
    return Query(scope=scope, keys=elements(**values), combined_date_time=draw(st.booleans()))


def comparable(matches: list[list[Element]]) -> list[str]:
    return sorted(repr(match) for match in matches)


@pytest.mark.parametrize("duplicates", ["latest", "first"])
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
@given(
    stored=st.lists(events(), min_size=1, max_size=10),
    asked=st.lists(queries(), min_size=1, max_size=6),
    cut=st.integers(0, 10),
)
def test_the_catalogue_answers_as_the_rules_alone_would(
    engine: Engine,
    duplicates: Literal["latest", "first"],
    stored: list[ImageStoredEvent],
    asked: list[Query],
    cut: int,
) -> None:
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
    once = list({each.data.store.object_name: each for each in reversed(stored)}.values())
    for batch in (once[:cut], once[cut:]):
        assert not [each for each in record(engine, batch, duplicates) if each != "new"]
    expected = Expected(once, duplicates)
    for query in asked:
        assert comparable(ask(engine, query)) == comparable(expected.matches(query)), query
