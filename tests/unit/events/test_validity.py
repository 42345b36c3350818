"""An event that no bucket, database or reader could use is refused with a sentence."""

import msgspec
import pytest

from dimse_ingestion.dicom.elements import BulkReference, Element
from dimse_ingestion.events.contract import (
    Image,
    ImageStored,
    ImageStoredEvent,
    InstanceOrigin,
)
from dimse_ingestion.events.validity import check, is_possible_key
from tests.unit.events.examples import event


def changed(**fields: object) -> ImageStoredEvent:
    return msgspec.structs.replace(event(), **fields)


def stored(**fields: object) -> ImageStoredEvent:
    original = event()
    store = msgspec.structs.replace(original.data.store, **fields)
    return changed(data=ImageStored(original.data.image, store))


def sent_by(**fields: str) -> ImageStoredEvent:
    data = event().data
    return changed(data=msgspec.structs.replace(data, origin=InstanceOrigin(**fields)))


def of(element: Element) -> ImageStoredEvent:
    original = event()
    image = Image(original.data.image.transfer_syntax_uid, [*original.data.image.elements, element])
    return changed(data=ImageStored(image, original.data.store))


def nested(depth: int) -> Element:
    element = Element("0008", "1155", "UI", "1.2")
    for _ in range(depth):
        element = Element("0008", "1140", "SQ", items=[[element]])
    return element


def test_ordinary_events_pass() -> None:
    check(event())
    check(stored(sha256="", size=0, object_name="é %#?[]/ü"))
    check(sent_by(calling_ae_title="CT1", peer_address="fe80::1%eth0"))
    check(of(nested(64)))
    check(of(Element("7FE0", "0010", "OB", bulk=BulkReference(0, 9, (0, 9)))))


@pytest.mark.parametrize(
    ("impossible", "sentence"),
    [
        (changed(id="a\n"), "id has control characters"),
        (changed(subject="s" * 5000), "subject has"),
        (stored(provider="a\0b"), "provider has"),
        (stored(bucket_name="b" * 256), "bucketName has"),
        (stored(wado_external_endpoint="http://\x7f"), "wadoExternalEndpoint has"),
        (stored(object_name=""), "objectName"),
        (stored(size=-1), "size or headerSize"),
        (stored(size=2**63), "size or headerSize"),
        (stored(header_size=2**31), "size or headerSize"),
        (stored(sha256="AB"), "sha256"),
        (sent_by(calling_ae_title="CT\0"), "callingAeTitle has"),
        (sent_by(peer_address="1" * 256), "peerAddress has"),
        (
            changed(data=ImageStored(Image("no uid", []), event().data.store)),
            "transferSyntaxUID is no UID",
        ),
        (of(Element("00zz", "0010", "LO")), "tag or VR"),
        (of(Element("10", "0010", "LO")), "tag or VR"),
        (of(Element("0010", "0010", "lo")), "tag or VR"),
        (of(Element("0009", "1010", "OB", inline_binary="A")), "not base64"),
        (of(Element("7FE0", "0010", "OB", bulk=BulkReference(-1, 2))), "bulk reference"),
        (of(Element("7FE0", "0010", "OB", bulk=BulkReference(1, 10**30))), "bulk reference"),
        (of(Element("7FE0", "0010", "OB", bulk=BulkReference(1, 2, (-1,)))), "bulk reference"),
        (of(nested(65)), "nested deeper"),
    ],
)
def test_an_impossible_event_is_refused_without_its_value(
    impossible: ImageStoredEvent, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        check(impossible)


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/./b", "a\0", "a\nb", "\x7f", "é" * 513]
)
def test_keys_that_no_bucket_has(key: str) -> None:
    assert not is_possible_key(key)
