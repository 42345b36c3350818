"""Resources of requests, and URLs in responses (PS3.18 tables 10.1-1, 8.2-1).

URLs begin as the client reached the service: with the configured URL, with the forwarded headers of
a trusted proxy, or with Host. The listening port is added to a Host without a port that comes
directly from a client: in HTTP it means port 80, but dicomweb-client leaves out any port. UIDs in
paths are validated here before anything else uses them.
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
"""The path that the paths of all DICOMweb resources begin with."""

_NAME = r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])"
_HOST = re.compile(rf"{_NAME}(:[0-9]{{1,5}})?")
_HTTP_PORT = 80
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_NAMES = {"study": "Study", "series": "Series", "instance": "SOP"}

Networks = Sequence[IPv4Network | IPv6Network]


@dataclass(frozen=True, slots=True)
class Resource:
    """A study, a series or an instance by its UIDs; empty below its level, otherwise valid."""

    study: str = ""
    series: str = ""
    instance: str = ""

    @property
    def path(self) -> str:
        """Return the path below the services' base."""
        levels = (("studies", self.study), ("series", self.series), ("instances", self.instance))
        return "".join(f"/{name}/{uid}" for name, uid in levels if uid)


def resource(request: Request) -> Resource:
    """Return the resource of the path's `study`, `series` and `instance`; raises Problem 400."""
    return Resource(**{name: _uid(request, name) for name in _NAMES})


def _uid(request: Request, name: str) -> str:
    value: str = request.path_params.get(name, "")
    if value and not uids.is_valid(value):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"The {_NAMES[name]} Instance UID in the URL is not a UID: "
            "give numbers and dots, at most 64.",
        )
    return value


class ServiceUrls:
    """Gives URLs for responses; `external` is the configured URL, with or without the base path.

    `port` is the port that clients connect to; 0 for the port that the service listens on.
    """

    def __init__(self, external: str, trusted: Networks, port: int = 0) -> None:
        self._external = external.rstrip("/").removesuffix(BASE_PATH)
        self._trusted = trusted
        self._port = port

    @property
    def prefix(self) -> str:
        """Return the path of the configured URL; proxies may send it or strip it."""
        return urlsplit(self._external).path

    def base(self, request: Request) -> str:
        """Return the URL of the services for the client, without a slash at the end."""
        return f"{self.root(request)}{BASE_PATH}"

    def root(self, request: Request) -> str:
        """Return the URL of `/` for the client, without a slash at the end; raises Problem 400."""
        if self._external:
            return self._external
        forwarded = self._forwarded(request)
        scheme = forwarded.get("proto", request.url.scheme)
        host = forwarded.get("host", self._host(request))
        if scheme not in ("http", "https") or not _HOST.fullmatch(host):
            raise Problem(HTTPStatus.BAD_REQUEST, "The request has no valid Host header.")
        prefix = forwarded.get("prefix", "").rstrip("/")
        return f"{scheme}://{host}{prefix if _PREFIX.fullmatch(prefix) else ''}"

    def is_trusted(self, request: Request) -> bool:
        """Return whether a trusted proxy sent the request, so that its headers are used."""
        try:
            peer = ip_address(request.client.host if request.client else "")
        except ValueError:
            return False
        return any(peer in network for network in self._trusted)

    def _host(self, request: Request) -> str:
        """Return Host, with the listening port when a client left the port out."""
        host = request.headers.get("host", "")
        port = self._port or (request.scope.get("server") or ("", 0))[1]
        if port in (None, 0, _HTTP_PORT) or self.is_trusted(request):
            return host
        return f"{host}:{port}" if re.fullmatch(_NAME, host) else host

    def _forwarded(self, request: Request) -> dict[str, str]:
        """Return proto, host and prefix as a trusted proxy sent them (RFC 7239, X-Forwarded)."""
        if not self.is_trusted(request):
            return {}
        names = {"proto": "x-forwarded-proto", "host": "x-forwarded-host"}
        names["prefix"] = "x-forwarded-prefix"
        given = {key: request.headers.get(name, "") for key, name in names.items()}
        given |= _first_of_forwarded(request.headers.get("forwarded", ""))
        # each proxy of a chain appends its value; the first one is what the client used
        return {key: value.split(",")[0].strip() for key, value in given.items() if value}


def _first_of_forwarded(header: str) -> dict[str, str]:
    """Return proto and host of the first element of Forwarded (RFC 7239)."""
    pairs = (pair.strip().partition("=") for pair in header.split(",")[0].split(";"))
    parameters = {name.lower(): value.strip('"') for name, _, value in pairs}
    return {name: parameters[name] for name in ("proto", "host") if name in parameters}


def bulk_data(base: str, of: Resource, path: Sequence[str]) -> str:
    """Return the URL of a bulk value of an instance.

    `path` is its tag as eight hexadecimal digits; before it, for a value within a sequence, the
    sequence's tag and the item's number from 1.
    """
    return f"{base}{of.path}/bulkdata/{'/'.join(quote(each, safe='') for each in path)}"
