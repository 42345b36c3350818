"""What the retrieving services of a door share: objects, frames, pictures, and who is asked for.

A service finds its instance here, so that one that isn't there is told in one way.
"""

from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.elements import by_tag
from dimse_ingestion.dicom.query_levels import UNIQUE_KEYS
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.urls import Resource, ServiceUrls
from dimse_ingestion.dicomweb.pixels.decoder_pool import DecoderPool
from dimse_ingestion.dicomweb.routing import ServiceContext
from dimse_ingestion.operations.frame_reading import FrameReader
from dimse_ingestion.operations.retrieve import ObjectMissing, Retriever
from dimse_ingestion.queries.contract import Located

_LEVELS = ("STUDY", "SERIES", "IMAGE")
CACHING = {"cache-control": "private, no-cache"}
"""An instance may be sent again with other content: clients ask whether theirs still holds."""


@dataclass(frozen=True, slots=True)
class RetrieveContext:
    """One for a door. `directory` is where instances are put while they are transcoded."""

    retriever: Retriever
    frames: FrameReader
    decoders: DecoderPool
    urls: ServiceUrls
    directory: Path

    async def instance(self, target: Resource) -> Located:
        """The instance that a resource names; raises Problem 404."""
        located = await self.retriever.instance(target.study, target.series, target.instance)
        if located is None:
            raise Problem(HTTPStatus.NOT_FOUND, "No instance with these UIDs is stored here.")
        return located

    def location(self, request: Request, of: Located) -> str:
        """Where an instance is had."""
        return f"{self.urls.base(request)}{resource_of(of).path}"


def open_context(service: ServiceContext) -> RetrieveContext:
    """What a door's services share; its processes end with the door."""
    decoders = DecoderPool(service.settings.workers)
    service.exit_stack.push_async_exit(decoders)
    retriever = Retriever(service.wires.bucket, service.wires.queries)
    directory = service.settings.spool_directory
    return RetrieveContext(retriever, FrameReader(retriever), decoders, service.urls, directory)


def resource_of(instance: Located) -> Resource:
    """An instance's UIDs."""
    found = by_tag(instance.elements)
    return Resource(*(uids.strip_padding(found[UNIQUE_KEYS[level]].value) for level in _LEVELS))


def object_missing_problem(missing: ObjectMissing) -> Problem:
    """The problem that a missing object is."""
    return Problem(HTTPStatus.GONE, str(missing))


def entity_tag(instance: Located, *of: object) -> str:
    """The entity tag of what is made of an instance by `of`; of its object itself without."""
    made = "".join(f"-{each}" for each in of)
    return f'"{instance.sha256[:40]}{made}"'


def caching_headers(tag: str) -> dict[str, str]:
    """The headers that let a client keep an answer."""
    return {"etag": tag, **CACHING}
