"""Helpers of retrieve tests: files of a space, their paths, and the parts of a response."""

from email.message import Message
from pathlib import Path

import httpx2
from pydicom import Dataset, dcmread

from dimse_ingestion.dicomweb.http.multipart_reader import MultipartReader, PartContent, PartHeaders
from dimse_ingestion.observability import metrics
from tests.storable import storable

FILES = {path.name: path for path in storable()}


def of(name: str) -> Dataset:
    """Return a file's data set."""
    return dcmread(FILES[name])


def path_of(name: str) -> str:
    """Return the path of its instance, below the service's base URL."""
    head = dcmread(FILES[name], stop_before_pixels=True)
    return (
        f"/studies/{head.StudyInstanceUID}/series/{head.SeriesInstanceUID}"
        f"/instances/{head.SOPInstanceUID}"
    )


def study_of(name: str) -> str:
    """Return the path of its study."""
    return f"/studies/{dcmread(FILES[name], stop_before_pixels=True).StudyInstanceUID}"


def reads() -> float:
    """Return the number of bucket reads so far in this process."""
    samples = (each for family in metrics.storage_requests.collect() for each in family.samples)
    return sum(
        each.value
        for each in samples
        if each.labels.get("asked") == "get" and each.name.endswith("_total")
    )


def parts_of(answer: httpx2.Response) -> list[tuple[str, bytes]]:
    """Return Content-Type and content of each part; fails for an incomplete body."""
    message = Message()
    message["content-type"] = answer.headers["content-type"]
    assert message.get_content_type() == "multipart/related"
    reader = MultipartReader(str(message.get_param("boundary")))
    parts: list[tuple[str, bytearray]] = []
    for event in reader.feed(answer.content):
        if isinstance(event, PartHeaders):
            parts.append((event.headers["content-type"], bytearray()))
        elif isinstance(event, PartContent):
            parts[-1][1].extend(event.content)
    reader.finish()
    return [(content_type, bytes(content)) for content_type, content in parts]


def data_set_after(head: bytes) -> bytes:
    """Return the data set that follows preamble and group 2 of a Part 10 file."""
    return head[144 + int.from_bytes(head[140:144], "little") :]


def only_file(folder: Path) -> Path:
    """Return the only object of a bucket folder."""
    [found] = folder.rglob("*.dcm")
    return found
