"""Instances to store, and a storage space in memory to store them in."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from itertools import pairwise

from dimse_ingestion.dicom import encoder, part10
from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.events.memory import MemorySink
from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.operations.event_builder import Instance, StorageSpace
from dimse_ingestion.operations.store import Storer
from dimse_ingestion.storage.keys import instance_key
from dimse_ingestion.storage.memory import MemoryBucket

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
SOP_INSTANCE = "1.2.826.0.1.3680043.8.498.1"
OPERATION = "0198f0a2-7b1c-7def-8123-456789abcdef"
SPACE = StorageSpace("provider", "dimse-ingestion", "http://in/wado", "https://out/wado")
DOWN = Unavailable("It is down.")

ELEMENTS = {
    0x00080016: element(0x00080016, "UI", CT),
    0x00080018: element(0x00080018, "UI", SOP_INSTANCE),
    0x00100010: element(0x00100010, "PN", "Doe^Jane"),
    0x00100020: element(0x00100020, "LO", "4711"),
    0x0020000D: element(0x0020000D, "UI", "1.2.3.1"),
    0x0020000E: element(0x0020000E, "UI", "1.2.3.2"),
}


def data_set(
    *changed: Element, without: Iterable[int] = (), pixels: bytes = b"", syntax: str = EXPLICIT
) -> bytes:
    """Return a data set with these elements changed, and OW pixels at its end."""
    elements = ELEMENTS | {each.tag: each for each in changed}
    head = encoder.encode([elements[tag] for tag in elements if tag not in set(without)], syntax)
    if not pixels:
        return head
    vr = b"OW\0\0" if syntax == EXPLICIT else b""
    return head + b"\xe0\x7f\x10\x00" + vr + len(pixels).to_bytes(4, "little") + pixels


def announced(
    content: bytes, *, syntax: str = EXPLICIT, sop_class: str = CT, sop_instance: str = SOP_INSTANCE
) -> Instance:
    digest = hashlib.sha256(content).hexdigest()
    return Instance(sop_class, sop_instance, syntax, len(content), digest)


def key_of(instance: Instance) -> str:
    return instance_key(instance.sha256, instance.transfer_syntax_uid, instance.sop_instance_uid)


def object_of(instance: Instance, content: bytes) -> bytes:
    """Return the object that the bucket must have."""
    head = part10.header(
        instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid
    )
    return head + content


async def chunks(
    content: bytes, cuts: Iterable[int] = (), failure: Failure | None = None
) -> AsyncIterator[bytes]:
    """Yield the content, cut at these offsets; then raise the failure, as the transport does."""
    places = sorted({0, *cuts, len(content)})
    for begin, end in pairwise(places):
        await asyncio.sleep(0)
        yield content[begin:end]
    if failure:
        raise failure


@dataclass
class Space:
    """A storage space in memory, and a replica of the service that stores into it."""

    bucket: MemoryBucket
    sink: MemorySink
    storer: Storer

    @property
    def events(self) -> list[str]:
        return [each.id for each in self.sink.accepted]


def space(bucket: MemoryBucket | None = None, sink: MemorySink | None = None) -> Space:
    bucket, sink = bucket or MemoryBucket(), sink or MemorySink()
    return Space(bucket, sink, Storer(bucket, sink, SPACE))
