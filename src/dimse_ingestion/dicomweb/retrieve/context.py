"""Clients and helpers that the retrieve services share: objects, frames, decoding and URLs.

Services find their instance here, so that a missing one has the same response everywhere.
"""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.query_levels import UNIQUE_KEYS
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.http.urls import Resource, ServiceUrls
from dimse_ingestion.dicomweb.routing import ServiceContext
from dimse_ingestion.operations.decompression import Decompressor
from dimse_ingestion.operations.frame_reader import FrameReader
from dimse_ingestion.operations.retrieve import ObjectMissing, Retriever
from dimse_ingestion.pixels.decoder_pool import DecoderPool
from dimse_ingestion.queries.contract import Located

_UNIQUE = [f"{UNIQUE_KEYS[level]:08X}" for level in ("STUDY", "SERIES", "IMAGE")]
CACHING = {"cache-control": "private, no-cache"}
"""An instance may be stored again with other content, so clients must revalidate their copy."""


@dataclass(frozen=True, slots=True)
class RetrieveContext:
    """Shared by all retrieve services."""

    retriever: Retriever
    frames: FrameReader
    decoders: DecoderPool
    decompressor: Decompressor
    urls: ServiceUrls

    async def instance(self, target: Resource, *, locations_only: bool = False) -> Located:
        """Return the instance of a resource; raises Problem 404.

        With `locations_only` it has no elements but its class and UIDs.
        """
        located = await self.retriever.instance(
            target.study, target.series, target.instance, locations_only=locations_only
        )
        if located is None:
            raise Problem(HTTPStatus.NOT_FOUND, "No instance with these UIDs is stored here.")
        return located

    def instance_url(self, request: Request, instance: Located) -> str:
        """Return the URL of an instance."""
        return f"{self.urls.base(request)}{resource_of(instance).path}"


def open_context(service: ServiceContext) -> RetrieveContext:
    """Create the context; its decoder processes end with the service."""
    decoders = DecoderPool(service.settings.workers)
    service.exit_stack.push_async_exit(decoders)
    retriever = Retriever(service.backends.bucket, service.backends.queries)
    decompressor = Decompressor(decoders, service.settings.spool_directory)
    return RetrieveContext(retriever, FrameReader(retriever), decoders, decompressor, service.urls)


def resource_of(instance: Located) -> Resource:
    """Return the resource that an instance's UIDs identify."""
    # the first of elements with one tag counts, as for `by_tag`, which converts all tags
    values = {each.group + each.element: each.value for each in reversed(instance.elements)}
    return Resource(*(uids.strip_padding(values[tag]) for tag in _UNIQUE))


def object_missing_problem(missing: ObjectMissing) -> Problem:
    """Return the problem 410 for a missing object."""
    return Problem(HTTPStatus.GONE, str(missing))


def entity_tag(instance: Located, *representation: object) -> str:
    """Return the entity tag of a representation of an instance; of its stored object by default."""
    suffix = "".join(f"-{each}" for each in representation)
    return f'"{instance.sha256[:40]}{suffix}"'


def caching_headers(tag: str) -> dict[str, str]:
    """Return the headers that let a client cache and revalidate a response."""
    return {"etag": tag, **CACHING}
