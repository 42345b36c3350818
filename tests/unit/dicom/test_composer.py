"""Data sets composed from elements and from values that stand elsewhere, read again."""

from pydicom import dcmread
from pydicom.filebase import DicomBytesIO

from dimse_ingestion.dicom.composer import compose
from dimse_ingestion.dicom.elements import BulkReference, Element, by_tag, element
from dimse_ingestion.dicom.scanner import scan
from dimse_ingestion.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN

NAME = element(0x00100010, "PN", "Müller^Jörg")
VALUES = [[b"one!"], [b"odd"], [b"a", b"bcd"]]


def bulk(tag: int, vr: str, number: int) -> Element:
    return Element(f"{tag >> 16:04X}", f"{tag & 0xFFFF:04X}", vr, bulk=BulkReference(number, 0))


def written(elements: list[Element], *, encapsulated: bool = False) -> bytes:
    """Return the data set, with the values of VALUES where their number is named."""
    stretches = {
        number: [BulkReference(place, len(part)) for place, part in enumerate(parts)]
        for number, parts in enumerate(VALUES)
    }
    places: list[bytes] = []
    pieces = compose(
        elements, lambda each: _noted(each, stretches, places), encapsulated=encapsulated
    )
    return b"".join(each if isinstance(each, bytes) else places.pop(0) for each in pieces)


def _noted(
    each: BulkReference, stretches: dict[int, list[BulkReference]], places: list[bytes]
) -> list[BulkReference]:
    places.extend(VALUES[each.offset])
    return stretches[each.offset]


def read(data_set: bytes) -> dict[int, Element]:
    return by_tag(scan(data_set, EXPLICIT_VR_LITTLE_ENDIAN))


def test_values_that_stand_elsewhere_are_put_in_and_padded() -> None:
    data_set = written([bulk(0x00420011, "OB", 1), bulk(0x00080120, "UR", 1), NAME])
    again = dcmread(DicomBytesIO(data_set), force=True)
    assert again.EncapsulatedDocument == b"odd\0"
    assert again[0x00080120].value == "odd"
    assert again.PatientName == "Müller^Jörg"


def test_a_value_in_an_item_is_put_in_there() -> None:
    item = [bulk(0x54001010, "OW", 0), element(0x003A0005, "US", "3")]
    waveform = Element("5400", "0100", "SQ", items=[item, item])
    inner = read(written([waveform, NAME]))[0x54000100].items or []
    assert [by_tag(each)[0x003A0005].value for each in inner] == ["3", "3"]
    assert [by_tag(each)[0x54001010].inline_binary for each in inner] == ["b25lIQ==", "b25lIQ=="]


def test_fragments_are_the_parts_of_encapsulated_pixels() -> None:
    data_set = written([bulk(0x7FE00010, "OW", 2), NAME], encapsulated=True)
    pixels = read(data_set)[0x7FE00010].bulk
    assert pixels is not None
    assert pixels.fragments == (0, 2, 4)
    assert data_set.endswith(b"\4\0\0\0bcd\0" + b"\xfe\xff\xdd\xe0" + bytes(4))


def test_what_is_true_only_of_other_bytes_is_left_out() -> None:
    retained = read(
        written(
            [
                element(0x00020010, "UI", "1.2.840.10008.1.2.4.50"),
                element(0x00080000, "UL", "38"),
                element(0x7FE00001, "OV", ""),
                NAME,
            ]
        )
    )
    assert list(retained) == [0x00080005, 0x00100010]


def test_one_character_set_holds_for_the_whole_data_set() -> None:
    item = [element(0x00080005, "CS", "ISO_IR 192"), element(0x00080104, "LO", "Größe")]
    character_set = element(0x00080005, "CS", "ISO_IR 100")
    coded = Element("0008", "1032", "SQ", items=[item])
    again = dcmread(DicomBytesIO(written([character_set, coded, NAME])), force=True)
    assert again.SpecificCharacterSet == "ISO_IR 100"
    assert "SpecificCharacterSet" not in again.ProcedureCodeSequence[0]
    assert again.ProcedureCodeSequence[0].CodeMeaning == "Größe"


def test_a_value_too_long_for_its_vr_is_unknown() -> None:
    numbers = element(0x30060050, "DS", "\\".join(["1.25"] * 20_000))
    assert written([numbers])[:12] == b"\x06\x30\x50\x00UN\0\0" + (100_000).to_bytes(4, "little")
