"""The XML model equals the JSON model, for the files that pydicom ships."""

from xml.etree import ElementTree as ET

import pytest
from pydicom import dcmread

from dimse_ingestion.dicom.dicom_json import to_json
from dimse_ingestion.dicom.elements import BulkReference, Element, element
from dimse_ingestion.dicom.native_model import NAMESPACE, InvalidXml, from_xml, to_xml
from dimse_ingestion.dicom.scanner import scan
from tests.storable import NOT_STORABLE, Shipped, data_set_of, shipped

READABLE = [each for each in shipped() if not each.reason and each.name not in NOT_STORABLE]
IN = {"n": NAMESPACE}


def address(path: tuple[str, ...]) -> str:
    return f"https://here/{'/'.join(path)}"


def syntax_of(file: Shipped) -> str:
    return str(dcmread(file.path, stop_before_pixels=True).file_meta.TransferSyntaxUID)


def placeholder(tag: str, vr: str, uri: str) -> Element:
    assert uri.startswith("https://here/")
    return Element(tag[:4], tag[4:], vr, bulk=BulkReference(0, 0))


def significant(model: object) -> object:
    """Drop empty components at a name's end, and names that have no other."""
    match model:
        case {"vr": "PN", "Value": [*names]}:
            significant_names = [significant(name) for name in names]
            return (
                {"vr": "PN", "Value": significant_names} if any(significant_names) else {"vr": "PN"}
            )
        case {"Alphabetic": str(name)} if not name.strip("^"):
            return None
        case {"Alphabetic": str(name), **others}:
            return {**others, "Alphabetic": name.rstrip("^")}
        case dict():
            return {key: significant(value) for key, value in model.items()}
        case list():
            return [significant(each) for each in model]
    return model


@pytest.mark.parametrize("file", READABLE, ids=lambda file: file.name)
def test_what_is_written_is_read_again(file: Shipped) -> None:
    elements = scan(data_set_of(file.path), syntax_of(file))
    read = from_xml(to_xml(elements, address), placeholder)
    assert significant(to_json(read, address)) == significant(to_json(elements, address))


def test_a_name_has_its_components() -> None:
    name = element(0x00100010, "PN", "Yamada^Tarou^^Dr=山田^太郎")
    root = ET.fromstring(to_xml([name], address))
    [attribute] = root.findall("n:DicomAttribute", IN)
    assert attribute.attrib == {"tag": "00100010", "vr": "PN", "keyword": "PatientName"}
    path = "n:PersonName[@number='1']/n:{}/n:{}"
    found = {
        (group, part): attribute.findtext(path.format(group, part), None, IN)
        for group in ("Alphabetic", "Ideographic", "Phonetic")
        for part in ("FamilyName", "GivenName", "MiddleName", "NamePrefix")
    }
    assert {key: text for key, text in found.items() if text} == {
        ("Alphabetic", "FamilyName"): "Yamada",
        ("Alphabetic", "GivenName"): "Tarou",
        ("Alphabetic", "NamePrefix"): "Dr",
        ("Ideographic", "FamilyName"): "山田",
        ("Ideographic", "GivenName"): "太郎",
    }


def test_a_private_element_names_its_creator() -> None:
    elements = [element(0x00090010, "LO", "ACME 1.0"), element(0x00091001, "LO", "x")]
    root = ET.fromstring(to_xml(elements, address))
    assert [each.get("privateCreator") for each in root] == [None, "ACME 1.0"]


def test_what_xml_can_t_write_is_left_out() -> None:
    written = to_xml([element(0x00104000, "LT", "a\x0cb\x1b\ud800\t")], address)
    [attribute] = ET.fromstring(written)
    assert attribute.findtext("n:Value", None, IN) == "ab\t"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"SMITH",
        b"<NativeDicomModel>",
        b'<?xml version="1.0" encoding="SMITH"?><NativeDicomModel/>',
        b"<other/>",
        b'<!DOCTYPE a [<!ENTITY b "SMITH">]><NativeDicomModel>&b;</NativeDicomModel>',
        b'<NativeDicomModel><DicomAttribute tag="SMITH" vr="PN"/></NativeDicomModel>',
        (
            b'<NativeDicomModel><DicomAttribute tag="00100010" vr="PN">'
            b'<Value number="99999999">SMITH</Value></DicomAttribute></NativeDicomModel>'
        ),
    ],
)
def test_what_is_no_data_set_is_refused_without_its_values(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"\.$") as raised:
        from_xml(document, placeholder)
    assert "SMITH" not in str(raised.value)


@pytest.mark.parametrize("document", [b"", b"SMITH", b"<a>", b"<!DOCTYPE a []><a/>"])
def test_invalid_xml_differs_from_an_invalid_instance(document: bytes) -> None:
    with pytest.raises(InvalidXml):
        from_xml(document, placeholder)
    with pytest.raises(ValueError, match="root") as raised:
        from_xml(b"<other/>", placeholder)
    assert not isinstance(raised.value, InvalidXml)


def test_an_empty_sequence_and_an_empty_value_come_back() -> None:
    elements = [element(0x00080050, "SH"), Element("0040", "0275", "SQ", items=[[]])]
    assert from_xml(to_xml(elements, address), placeholder) == elements


def test_items_of_any_number_and_size_are_written_and_read_again() -> None:
    code = element(0x00080100, "SH", "A")
    many = [element(0x00410000 + number, "LO", str(number)) for number in range(1, 900)]
    items = [[code], many, [], *[[code]] * 120, [Element("0008", "1199", "SQ", items=[many, []])]]
    elements = [Element("0008", "1115", "SQ", items=items), code]
    elements.sort(key=lambda each: each.tag)
    written = to_xml(elements, address)
    assert from_xml(written, placeholder) == elements
    numbers = [
        each.get("number")
        for each in ET.fromstring(written).iterfind("n:DicomAttribute/n:Item", IN)
    ]
    assert numbers == [str(number) for number in range(1, len(items) + 1)]
