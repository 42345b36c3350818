"""The types of settings' values, each of which refuses a wrong value with a sentence and a cure."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from dimse_ingestion.dicom.ae_title import validate

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")
_UID_LENGTH = 64  # PS3.5 9.1
_SUBJECT = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64})*")

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_SIZE = re.compile(r"(?P<number>[0-9]+)\s*(?P<unit>|[KMGT]i?)B?", re.IGNORECASE)
_DIGITS = 18
_LONGEST = 366 * 24 * 3600.0
_MOST = 1_000_000
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_FACTORS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def trim(value: object, *, any_character: bool = False) -> object:
    """Strip blanks and line ends from text; return other values as they are.

    Raises ValueError for control characters within, unless `any_character` is set.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if _SURROGATE.search(text):
        raise ValueError("it is not UTF-8 text.")
    if not any_character and (match := _CONTROL.search(text)):
        raise ValueError(f"it has the control character U+{ord(match[0]):04X}: remove it.")
    return text


def is_host(value: str) -> bool:
    """Return whether a value can be a host's name or IP address."""
    try:
        return bool(value) and bool(value.encode("idna")) and not re.search(r"[\s/\[\]]", value)
    except UnicodeError:
        return False


def check_host(value: str) -> str:
    """Return an address to listen on, or a host name, if it can be one. Raises ValueError."""
    if not is_host(value):
        raise ValueError(
            f"{value!r} is no address to listen on: give an IP address of this host, its name, "
            "or 0.0.0.0 for all."
        )
    return value


def _port(value: object) -> object:
    """Refuse the value that Kubernetes sets for a Service of the same name as the variable's."""
    if isinstance(value, str) and re.match(r"(tcp|udp)://", value):
        raise ValueError(
            "it is the address of a Kubernetes Service: set enableServiceLinks to false in the "
            "pod, or rename the Service."
        )
    return value


def split_list(value: object) -> object:
    """Return a list as YAML has it, or one of comma-separated parts, as the environment has it."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _titles(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(validate(value) for value in values)


def _uids(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if len(value) > _UID_LENGTH or not _UID.fullmatch(value):
            raise ValueError(f"{value!r} is not a UID: give numbers and dots, at most 64.")
    return values


def _networks(values: object) -> tuple[IPv4Network | IPv6Network, ...]:
    if not isinstance(values, list | tuple):
        raise ValueError(f"{values!r} is no list: give networks like [10.1.0.0/16].")  # noqa: TRY004 - pydantic takes no other
    return tuple(_network(value) for value in values)


def _network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(str(value))
    except ValueError as mistake:
        raise ValueError(f"{mistake}: give networks like 10.1.0.0/16 or 10.1.2.3.") from mistake


def _subject(value: str) -> str:
    if not _SUBJECT.fullmatch(value):
        raise ValueError(
            f"{value!r} can't be part of a NATS subject: use letters, digits, '-' and '_', "
            "at most 64."
        )
    return value


def _token(value: str) -> str:
    if "." in value:
        raise ValueError(f"{value!r} has a dot, which parts NATS subjects: use '-' instead.")
    return _subject(value)


def parse_size(value: object) -> object:
    """Return bytes from a number, or from one with a unit as Kubernetes has it (512Mi, 4G)."""
    if not isinstance(value, str):
        return value
    if not (match := _SIZE.fullmatch(value.strip())):
        raise ValueError(f"{value!r} is not a size: give bytes, or a number with Mi or Gi.")
    if len(match["number"]) > _DIGITS:
        raise ValueError("it is larger than any memory or disk: give a smaller size.")
    factor = (_FACTORS | _BINARY_FACTORS)[match["unit"].lower()]
    return int(match["number"]) * factor


def _nats_servers(value: str) -> str:
    for server in value.split(","):
        if not re.fullmatch(
            r"((nats|tls|ws|wss)://)?(\[[0-9a-fA-F:]+\]|[^\s/:,@]+)(:[0-9]+)?/?", server.strip()
        ):
            raise ValueError(
                f"{server.strip()!r} is not a NATS address: give host:port, nats://host:port, "
                "tls://host:port or wss://host, several by comma, without credentials."
            )
    return value


def _http_url(value: str) -> str:
    if value and not re.match(r"https?://[^/\s]+", value):
        raise ValueError(f"{value!r} is not a URL: it must begin with http:// or https://.")
    return value.rstrip("/")


def _check_exists(path: Path | None) -> Path | None:
    if path is not None and not _exists(path):
        raise ValueError(f"there is no file {path}: mount it, or correct the path.")
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder without permission
        return False


def _off(value: object) -> object:
    """Return `off` for what YAML 1.1 makes of it."""
    return "off" if value is False else value


AeTitle = Annotated[str, AfterValidator(validate)]
AeTitles = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(split_list), AfterValidator(_titles)
]
Uids = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_list), AfterValidator(_uids)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_list)]
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...],
    NoDecode,
    BeforeValidator(lambda value: _networks(split_list(value))),
]
Subject = Annotated[str, AfterValidator(_subject)]
SubjectToken = Annotated[str, AfterValidator(_token)]
NatsServers = Annotated[str, AfterValidator(_nats_servers)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0, le=2**60)]
Seconds = Annotated[float, Field(gt=0, le=_LONGEST, allow_inf_nan=False)]
Host = Annotated[str, AfterValidator(check_host)]
Port = Annotated[int, BeforeValidator(_port), Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1, le=_MOST)]
Compression = Annotated[Literal["off", "zstd"], BeforeValidator(_off)]
Decoders = Annotated[int, Field(ge=0, le=64)]
Workers = Annotated[int, Field(ge=1, le=64)]
OptionalFile = Annotated[Path | None, AfterValidator(_check_exists)]
