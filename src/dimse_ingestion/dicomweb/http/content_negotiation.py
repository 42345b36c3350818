"""Content negotiation (RFC 9110 section 12.5.1, PS3.18 section 8.7).

Reads media ranges and their quality from the Accept header and the `accept` query parameter, and
chooses the best of the representations that a service offers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus

from starlette.requests import Request

from dimse_ingestion.dicomweb.http.header_values import media_type, split_unquoted
from dimse_ingestion.dicomweb.http.problems import Problem

JSON = "application/dicom+json"
XML = 'multipart/related; type="application/dicom+xml"'
_MOST_RANGES = 100
_LONGEST_CACHED = 1024  # characters
_ALIASES = {"application/json": "application/dicom+json"}


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type or range; `parameters` by lower-case name, without `q`.

    `type/*` and `*/*` are ranges. `quality` is 0 to 1, and 0 refuses.
    """

    name: str
    parameters: dict[str, str] = field(default_factory=dict)
    quality: float = 1.0

    @property
    def part(self) -> str:
        """Return the media type of `multipart/related` parts, empty for any; else the name."""
        if self.name != "multipart/related":
            return self.name
        return self.parameters.get("type", "").lower()

    @property
    def transfer_syntax(self) -> str:
        """Return the `transfer-syntax` parameter: a UID, `*`, or empty."""
        return self.parameters.get("transfer-syntax", "")

    @property
    def specificity(self) -> int:
        """Return a rank that is higher for a range that includes fewer types."""
        wildcards = self.name.count("*")
        return (2 - wildcards) * 10 + len(self.parameters)

    def includes(self, offer: "MediaType") -> bool:
        """Return whether the range includes the offer, whatever its transfer syntax."""
        if not _covers(_ALIASES.get(self.name, self.name), offer.name):
            return False
        return not self.part or offer.name != "multipart/related" or _same_part(self, offer)


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen offer, and the ranges that include it, the most wanted first.

    There are no ranges when the request has no Accept.
    """

    offer: str
    ranges: list[MediaType]


def accepted_types(request: Request) -> list[MediaType]:
    """Return the media ranges of a request, the most wanted first; none without Accept.

    `accept` in the query string overrides the header (PS3.18 8.3.3.1). Raises Problem 400.
    """
    values = request.query_params.getlist("accept") or request.headers.getlist("accept")
    is_short = sum(map(len, values)) <= _LONGEST_CACHED
    return list(_cached_ranges(tuple(values)) if is_short else _ranges(values))


def _ranges(values: Iterable[str]) -> tuple[MediaType, ...]:
    pieces = [piece for each in values for piece in split_unquoted(each, ",")]
    if len(pieces) > _MOST_RANGES:
        raise Problem(HTTPStatus.BAD_REQUEST, f"Accept has more than {_MOST_RANGES} media types.")
    ranges = [parse_media_type(piece) for piece in pieces]
    return tuple(sorted(ranges, key=lambda each: (-each.quality, -each.specificity)))


@lru_cache(maxsize=256)
def _cached_ranges(values: tuple[str, ...]) -> tuple[MediaType, ...]:
    """Return the ranges of a short Accept: a client sends the same with each request."""
    return _ranges(values)


def parse_media_type(text: str) -> MediaType:
    """Parse one media type or range with its parameters; raises Problem 400."""
    name, parameters = media_type(text)
    quality = _quality(parameters.pop("q", "1"))
    if not name or quality is None:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "Accept is not a list of media types such as image/png;q=0.5."
        )
    return MediaType(name, parameters, quality)


def choose_offer(ranges: Sequence[MediaType], offers: Sequence[str]) -> Choice:
    """Return the offer the client wants most, the first of equal ones; raises Problem 406 for none.

    Offers are media types; `multipart/related` has its `type`.
    """
    if not ranges:
        return Choice(offers[0], [])
    weighed = [(_weight(ranges, _offer(offer)), offer) for offer in offers]
    best, offer = max(weighed, key=lambda pair: pair[0])
    if best <= 0:
        raise Problem(
            HTTPStatus.NOT_ACCEPTABLE,
            f"Accept includes none of the available media types: {'; or '.join(offers)}.",
        )
    return Choice(offer, [each for each in ranges if each.quality and each.includes(_offer(offer))])


@lru_cache(maxsize=256)
def _offer(text: str) -> MediaType:
    return parse_media_type(text)


def _weight(ranges: Iterable[MediaType], offer: MediaType) -> float:
    """Return the quality of the most specific range that includes it (RFC 9110 12.5.1)."""
    within = [each for each in ranges if each.includes(offer)]
    best = max(within, key=lambda each: (each.specificity, each.quality), default=None)
    return best.quality if best else 0.0


def _covers(wanted: str, name: str) -> bool:
    if wanted == "*/*":
        return True
    return wanted == name or (wanted.endswith("/*") and name.startswith(wanted[:-1]))


def _same_part(wanted: MediaType, offer: MediaType) -> bool:
    if wanted.name != "multipart/related":
        return True
    return _covers(_ALIASES.get(wanted.part, wanted.part), offer.part)


def _quality(text: str) -> float | None:
    try:
        quality = float(text)
    except ValueError:
        return None
    return quality if 0 <= quality <= 1 else None
