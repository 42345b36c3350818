"""The JSON model against pydicom's, over the files that pydicom ships."""

import math
from base64 import b64decode
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from dimse_ingestion.dicom.dicom_json import from_json, to_json
from dimse_ingestion.dicom.elements import BulkReference, Element, element
from dimse_ingestion.dicom.limits import ParserLimits
from dimse_ingestion.dicom.scanner import Scanner
from tests.storable import NOT_STORABLE, Shipped, data_set_of, shipped

READABLE = [each for each in shipped() if not each.reason and each.name not in NOT_STORABLE]
PADDING = "FFFCFFFC"
LIMITS = ParserLimits(binary=64 * 2**20)  # so that pydicom's InlineBinary can be compared


def address(path: tuple[str, ...]) -> str:
    return f"https://here/{'/'.join(path)}"


def no_bulk(tag: str, vr: str, uri: str) -> Element:
    raise AssertionError(f"{tag} {vr} {uri}")


def placeholder(tag: str, vr: str, uri: str) -> Element:
    return Element(tag[:4], tag[4:], vr, bulk=BulkReference(0, len(uri)))


def read(file: Shipped) -> list[Element]:
    scanner = Scanner(
        dcmread(file.path, stop_before_pixels=True).file_meta.TransferSyntaxUID, LIMITS
    )
    scanner.feed(data_set_of(file.path))
    return scanner.finish()


def theirs(file: Shipped) -> dict[str, Any]:
    data_set = dcmread(file.path)
    return data_set.to_json_dict(
        bulk_data_threshold=0, bulk_data_element_handler=lambda _: "", suppress_invalid_tags=True
    )


def plain(attribute: dict[str, Any]) -> object:
    """Return a value as both models mean it."""
    values = attribute.get("Value") or []
    return [_comparable(value) for value in values]


def _comparable(value: object) -> object:
    if isinstance(value, dict):
        names = {name: str(group).rstrip("^") for name, group in value.items() if group}
        return names or None
    if isinstance(value, float | int):
        return pytest.approx(value, nan_ok=True)
    return value.strip(" \0") or None if isinstance(value, str) else value


@pytest.mark.parametrize("file", READABLE, ids=lambda file: file.name)
def test_values_are_what_pydicom_reads(file: Shipped) -> None:
    mine, known = to_json(read(file), address), theirs(file)
    assert mine.keys() - {PADDING} <= known.keys() | mine.keys()
    compared = 0
    for tag, attribute in known.items():
        if tag == PADDING or tag.endswith("0000") or tag not in mine or attribute["vr"] == "SQ":
            continue
        if attribute["vr"] != mine[tag]["vr"] or tag == "00080005" or "Value" not in attribute:
            continue
        assert plain(mine[tag]) == plain(attribute), tag
        compared += 1
    assert compared


@pytest.mark.parametrize("file", READABLE, ids=lambda file: file.name)
def test_pydicom_reads_what_is_written(file: Shipped) -> None:
    if file.name == "badVR.dcm":  # pydicom takes no IS that isn't one
        return
    written = to_json(read(file), address)
    known = Dataset.from_json(written, bulk_data_uri_handler=lambda *_: b"")
    assert len(known) == len(written)


@pytest.mark.parametrize("file", READABLE, ids=lambda file: file.name)
def test_there_and_back_is_the_same(file: Shipped) -> None:
    once = to_json(read(file), address)
    again = to_json(from_json(once, placeholder), address)
    assert again == once


@pytest.mark.parametrize(
    ("vr", "value", "json"),
    [
        (
            "PN",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
            {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"},
        ),
        ("PN", "=山田", {"Ideographic": "山田"}),
        ("IS", " 12", 12),
        ("IS", "1.0", "1.0"),
        ("DS", "1.50", 1.5),
        ("DS", "-0012", -12),
        ("FD", "nan", "NaN"),
        ("FL", "-inf", "-Infinity"),
        ("UV", str(2**60), str(2**60)),
        ("SV", "-5", -5),
        ("AT", "00100010", "00100010"),
        ("LT", "a\\b", "a\\b"),
        ("LO", " padded ", " padded"),
    ],
)
def test_a_value(vr: str, value: str, json: object) -> None:
    assert to_json([element(0x00091001, vr, value)], address) == {
        "00091001": {"vr": vr, "Value": [json]}
    }


@pytest.mark.parametrize(
    ("value", "json"),
    [("", None), ("\\", None), ("a\\\\b", ["a", None, "b"]), ("a\\", ["a", None])],
)
def test_empty_values_are_null_among_others_and_absent_alone(
    value: str, json: list[str | None] | None
) -> None:
    written = to_json([element(0x00080008, "CS", value)], address)
    assert written == {"00080008": {"vr": "CS"} | ({"Value": json} if json else {})}


def test_bulk_data_is_referenced_by_its_path_within_sequences() -> None:
    bulk = Element("0009", "1002", "OB", bulk=BulkReference(900, 2000))
    sequence = Element("0040", "0275", "SQ", items=[[], [bulk]])
    written = to_json([sequence], address)
    assert written["00400275"]["Value"] == [
        {},
        {"00091002": {"vr": "OB", "BulkDataURI": "https://here/00400275/2/00091002"}},
    ]


def test_the_character_set_is_that_of_the_answer() -> None:
    assert to_json([element(0x00080005, "CS", "\\ISO 2022 IR 87")], address) == {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}
    }


@pytest.mark.parametrize(
    ("data_set", "sentence"),
    [
        ([], "must be a JSON object"),
        ({"PatientName": {"vr": "PN"}}, "must be a tag"),
        ({"00100010": "SMITH"}, "00100010 must be a JSON object"),
        ({"00100010": {"Value": ["SMITH"]}}, "00100010 has no vr"),
        ({"00100010": {"vr": "PN", "Value": "SMITH"}}, "must be an array"),
        ({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "SMITH=X"}]}}, "none of VR PN"),
        ({"00280010": {"vr": "US", "Value": ["SMITH"]}}, "none of VR US"),
        ({"00280010": {"vr": "US", "Value": [1.5]}}, "none of VR US"),
        ({"00280010": {"vr": "US", "Value": [True]}}, "none of VR US"),
        ({"00280010": {"vr": "OB", "InlineBinary": "SMITH!"}}, "not base64"),
        ({"00081140": {"vr": "SQ", "Value": ["SMITH"]}}, "must be a JSON object"),
        ({"00280010": {"vr": ["SMITH"], "Value": [1]}}, "00280010 has no vr"),
        ({"00280010": {"vr": "US", "Value": [math.inf]}}, "none of VR US"),
        ({"00281052": {"vr": "DS", "Value": [math.inf]}}, "none of VR DS"),
        ({"00189306": {"vr": "FD", "Value": [10**400]}}, "none of VR FD"),
        ({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "SMITH\ud800"}]}}, "none of VR PN"),
        ({"00104000": {"vr": "LT", "Value": ["\udfffSMITH"]}}, "none of VR LT"),
        ({"00080060": {"vr": "CS", "Value": ["SMITH\u00c9"]}}, "none of VR CS"),
    ],
)
def test_what_is_no_data_set_is_refused_without_its_values(data_set: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        from_json(data_set, no_bulk)
    assert "SMITH" not in str(raised.value)


def test_endless_nesting_is_refused() -> None:
    data_set: dict[str, Any] = {}
    for _ in range(200):
        data_set = {"00081140": {"vr": "SQ", "Value": [data_set]}}
    with pytest.raises(ValueError, match="deeper"):
        from_json(data_set, no_bulk)


def test_numbers_may_be_strings_and_names_may_be_null() -> None:
    read = from_json(
        {
            "00080018": {"vr": "UI", "Value": ["1.2.3"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A", "Phonetic": "C"}, None]},
            "00181151": {"vr": "IS", "Value": ["5", 7]},
            "00189306": {"vr": "FD", "Value": ["NaN", "0.5"]},
            "00280030": {"vr": "DS", "Value": [0.25, "1.50"]},
            "7FE00010": {"vr": "OB", "InlineBinary": "AAECAw=="},
        },
        no_bulk,
    )
    assert [each.value for each in read[:3]] == ["1.2.3", "A==C\\", "5\\7"]
    assert math.isnan(float(read[3].values[0]))
    assert read[4].value == "0.25\\1.50"
    assert b64decode(read[5].inline_binary or "") == bytes(range(4))


@pytest.mark.parametrize(
    ("vr", "number", "text"),
    [
        ("DS", 0.1 + 0.2, "0.3"),
        ("DS", 1 / 3, "0.33333333333333"),
        ("DS", -1 / 3, "-0.3333333333333"),
        ("DS", 1e-300 / 3, "3.333333333e-301"),
        ("DS", 12345678901234567890, "1.2345678901e+19"),
        ("DS", 0.1, "0.1"),
        ("DS", 5, "5"),
        ("DS", "1.50", "1.50"),
        ("IS", 7.0, "7"),
        ("IS", -12, "-12"),
        ("IS", "007", "007"),
        ("LO", 5, "5"),
    ],
)
def test_a_json_number_becomes_a_string_that_its_vr_allows(
    vr: str, number: object, text: str
) -> None:
    [read] = from_json({"00191001": {"vr": vr, "Value": [number]}}, no_bulk)
    assert len(read.value) <= 16
    assert read.value == text or float(read.value) == pytest.approx(float(text), rel=1e-9)


@pytest.mark.parametrize(
    ("vr", "number"), [("IS", 7.5), ("IS", 1e400), ("DS", 1e400), ("IS", True), ("DS", [1])]
)
def test_a_json_number_that_its_vr_has_not_is_refused(vr: str, number: object) -> None:
    with pytest.raises(ValueError, match=f"none of VR {vr}"):
        from_json({"00191001": {"vr": vr, "Value": [number]}}, no_bulk)
