"""An example event for the tests of this package."""

from dimse_ingestion.dicom.elements import BulkReference, Element, element
from dimse_ingestion.events.contract import Image, ImageStored, ImageStoredEvent, Store

ELEMENTS = [
    element(0x00080018, "UI", "1.2.3"),
    element(0x00100010, "PN", "山田^太郎"),
    Element("0008", "1140", "SQ", items=[[element(0x00081155, "UI", "1.2.4")], []]),
    Element("0029", "1010", "OB", inline_binary="AAEC"),
    Element("7FE0", "0010", "OW", bulk=BulkReference(1000, 524288)),
]


def event(identifier: str = "0b0f8a6e-7d8e-5f9a-9a57-2d8d0f3f8f11") -> ImageStoredEvent:
    store = Store("provider", "space", "instances/ab/x.dcm", "http://in", "http://out", 9, "ab", 7)
    return ImageStoredEvent(
        id=identifier,
        source="dimse-ingestion",
        data=ImageStored(Image("1.2.840.10008.1.2.1", ELEMENTS), store),
        time="2026-01-02T03:04:05Z",
        subject="1.2.3",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
