"""Which resource a request means, and which addresses answers name (PS3.18 tables 10.1-1, 8.2-1).

Addresses are as the client reached the door: by the configured one, by a trusted proxy's forwarded
headers, or by Host. A Host without a port that comes straight from a client gets the door's: HTTP
means 80 by it, but dicomweb-client leaves the port out whatever it is. UIDs of a path are checked
here before anything else is done with them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_address
from urllib.parse import quote, urlsplit

from starlette.requests import Request

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicomweb.http.problems import Problem

BASE_PATH = "/dicomweb"
"""The path below which the services are."""

_NAME = r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])"
_HOST = re.compile(rf"{_NAME}(:[0-9]{{1,5}})?")
_HTTP_PORT = 80
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_NAMES = {"study": "Study", "series": "Series", "instance": "SOP"}

Networks = Sequence[IPv4Network | IPv6Network]


@dataclass(frozen=True, slots=True)
class Resource:
    """A study, a series or an instance by its UIDs; empty for no such level, checked otherwise."""

    study: str = ""
    series: str = ""
    instance: str = ""

    @property
    def path(self) -> str:
        """Below the services' base."""
        levels = (("studies", self.study), ("series", self.series), ("instances", self.instance))
        return "".join(f"/{name}/{uid}" for name, uid in levels if uid)


def resource(request: Request) -> Resource:
    """What the path's `study`, `series` and `instance` name; raises Problem 400."""
    return Resource(**{name: _uid(request, name) for name in _NAMES})


def _uid(request: Request, name: str) -> str:
    value: str = request.path_params.get(name, "")
    if value and not uids.is_valid(value):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"The {_NAMES[name]} Instance UID in the address is none: "
            "give numbers and dots, at most 64.",
        )
    return value


class ServiceUrls:
    """Addresses for answers; `external` is configured, without the services' path.

    `port` is the one clients reach the door at; 0 for the one it listens at.
    """

    def __init__(self, external: str, trusted: Networks, port: int = 0) -> None:
        self._external = external.rstrip("/").removesuffix(BASE_PATH)
        self._trusted = trusted
        self._port = port

    @property
    def prefix(self) -> str:
        """The path of the configured address: a proxy that does not strip it sends it along."""
        return urlsplit(self._external).path

    def base(self, request: Request) -> str:
        """Where the client reaches the services, without a slash at the end."""
        return f"{self.root(request)}{BASE_PATH}"

    def root(self, request: Request) -> str:
        """Where the client reaches the door, without a slash at the end."""
        if self._external:
            return self._external
        forwarded = self._forwarded(request)
        scheme = forwarded.get("proto", request.url.scheme)
        host = forwarded.get("host", self._host(request))
        if scheme not in ("http", "https") or not _HOST.fullmatch(host):
            raise Problem(
                HTTPStatus.BAD_REQUEST, "The request does not say at which host it was aimed."
            )
        prefix = forwarded.get("prefix", "").rstrip("/")
        return f"{scheme}://{host}{prefix if _PREFIX.fullmatch(prefix) else ''}"

    def is_trusted(self, request: Request) -> bool:
        """Whether a trusted proxy sent it, whose headers count."""
        try:
            peer = ip_address(request.client.host if request.client else "")
        except ValueError:
            return False
        return any(peer in network for network in self._trusted)

    def _host(self, request: Request) -> str:
        """Host, with the port that is meant."""
        host = request.headers.get("host", "")
        port = self._port or (request.scope.get("server") or ("", 0))[1]
        if port in (None, 0, _HTTP_PORT) or self.is_trusted(request):
            return host
        return f"{host}:{port}" if re.fullmatch(_NAME, host) else host

    def _forwarded(self, request: Request) -> dict[str, str]:
        """What a trusted proxy says of how it was reached (RFC 7239 and its forerunners)."""
        if not self.is_trusted(request):
            return {}
        names = {"proto": "x-forwarded-proto", "host": "x-forwarded-host"}
        names["prefix"] = "x-forwarded-prefix"
        given = {key: request.headers.get(name, "") for key, name in names.items()}
        given |= _first_of_forwarded(request.headers.get("forwarded", ""))
        # several proxies in a row list what each was reached by, the outermost first
        return {key: value.split(",")[0].strip() for key, value in given.items() if value}


def _first_of_forwarded(header: str) -> dict[str, str]:
    """Proto and host of RFC 7239's first element."""
    pairs = (pair.strip().partition("=") for pair in header.split(",")[0].split(";"))
    found = {name.lower(): value.strip('"') for name, _, value in pairs}
    return {name: found[name] for name in ("proto", "host") if name in found}


def bulk_data(base: str, of: Resource, path: Sequence[str]) -> str:
    """Where a bulk value of an instance is had.

    `path` is its tag as eight hexadecimal digits; before it, for a value within a sequence, the
    sequence's tag and the item's number from 1.
    """
    return f"{base}{of.path}/bulkdata/{'/'.join(quote(each, safe='') for each in path)}"
