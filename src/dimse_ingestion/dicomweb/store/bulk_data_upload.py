"""The spooled parts of one STOW-RS request that has metadata and bulk data.

Nothing can be stored before all parts have arrived, because bulk data may come after the metadata
that refers to it. All parts are written to one spooled file and found by their URLs:
Content-Location or Content-ID (RFC 2557). `metadata_upload` reads the metadata.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urljoin

from dimse_ingestion.dicom.elements import BulkReference
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.spooling.spooled import SpooledDataSet


@dataclass(slots=True)
class SpooledPart:
    """One part: its Content-Type, and its offset and length in the spooled file, in bytes."""

    content_type: str
    offset: int
    length: int = 0

    @property
    def reference(self) -> BulkReference:
        """Return the position in the spooled file."""
        return BulkReference(self.offset, self.length)


@dataclass(slots=True)
class BulkDataUpload:
    """Owns `spooled`, which `close` releases; URLs of parts may be relative to `base`."""

    spooled: SpooledDataSet
    base: str
    _by_url: dict[str, list[SpooledPart]] = field(default_factory=dict)

    def begin(self, headers: Mapping[str, str]) -> SpooledPart:
        """Begin the next part; raises Problem 400 when its Content-Location is not a URL."""
        part = SpooledPart(headers.get("content-type", ""), self.spooled.size)
        for url in self._urls(headers):
            self._by_url.setdefault(url, []).append(part)
        return part

    async def write(self, part: SpooledPart, content: bytes) -> None:
        """Append bytes to the last part."""
        part.length += len(content)
        waiting = self.spooled.write(content)
        if waiting is not None:
            await waiting

    async def seal(self) -> None:
        """Complete the file; raises Unavailable when the spool was full."""
        await self.spooled.seal()

    def at(self, url: str) -> list[SpooledPart]:
        """Return the parts at a BulkDataURI, in order; none when no part has this URL.

        Raises ValueError when it is not a URL.
        """
        return self._by_url.get(urljoin(self.base, url), [])

    def read(self, reference: BulkReference, longest: int) -> Iterator[bytes]:
        """Yield the bytes in chunks of at most `longest`; call `seal` first."""
        for done in range(0, reference.length, longest):
            wanted = min(longest, reference.length - done)
            yield self.spooled.read(reference.offset + done, wanted)

    def close(self) -> None:
        """Release the file."""
        self.spooled.close()

    def _urls(self, headers: Mapping[str, str]) -> Iterator[str]:
        if location := headers.get("content-location", ""):
            try:
                yield urljoin(self.base, location)
            except ValueError:
                raise Problem(
                    HTTPStatus.BAD_REQUEST, "A part's Content-Location is not a URL."
                ) from None
        if name := headers.get("content-id", "").strip("<>"):
            yield f"cid:{name}"
