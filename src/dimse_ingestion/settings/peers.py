"""The AEs that a proxy knows by title: what each may request, and where it is reached.

A modality that only stores and queries needs no entry here. Entries are written as in
`proxy.yaml`; the environment has the same list as JSON. Connections to them are not part of this.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import NoDecode

from dimse_ingestion.settings.types import AeTitle, Count, is_host, split_list
from dimse_ingestion.settings.yaml_file import camel_case, parse_value, snake_case

Right = Literal["move", "get", "commit"]
"""A service that a peer may request: C-MOVE, C-GET, storage commitment."""


def _check_host(value: str) -> str:
    if value and not is_host(value):
        raise ValueError(f"{value!r} is no host: give its name or IP address.")
    return value


class Peer(BaseModel):
    """One AE: its rights as a caller, and its address as a destination."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    ae_title: AeTitle
    host: Annotated[str, AfterValidator(_check_host)] = ""
    """Name or IP address; empty if this proxy never opens an association to it."""
    port: int | None = Field(default=None, ge=1, le=65535)
    tls: bool = False
    """DICOM TLS; the peer's certificate is verified."""
    tls_server_name: Annotated[str, AfterValidator(_check_host)] = ""
    """The name that must be in its certificate; empty: `host`."""
    may: Annotated[frozenset[Right], BeforeValidator(split_list)] = frozenset()
    """What it may request of this proxy."""
    maximum_associations: Count = 4
    """The most associations that this proxy opens to it at once."""

    @property
    def address(self) -> tuple[str, int] | None:
        """Return host and port, or None if it has no address."""
        return (self.host, self.port) if self.host and self.port else None

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if bool(self.host) != bool(self.port):
            raise ValueError("host and port belong together: give both.")
        if "commit" in self.may and self.address is None:
            raise ValueError("may has commit, whose report needs an address: give host and port.")
        if not self.may and self.address is None:
            raise ValueError("it has no right and no address: give may, or host and port.")
        if self.tls_server_name and not self.tls:
            raise ValueError("tlsServerName is used with TLS only: set tls to true.")
        return self


def _peers(value: object) -> tuple[Peer, ...]:
    """Return the peers of a list, or of its text. Raises ValueError with a sentence for each."""
    entries = parse_value(value) if isinstance(value, str) else value
    if not isinstance(entries, list | tuple):
        raise ValueError(  # noqa: TRY004 - pydantic takes no other
            "it is no list: give peers like [{aeTitle: WS1, host: 10.1.2.3, port: 11112, "
            "may: [move]}]."
        )
    peers = tuple(_peer(number, entry) for number, entry in enumerate(entries, 1))
    titles = [peer.ae_title for peer in peers]
    if duplicates := sorted({title for title in titles if titles.count(title) > 1}):
        raise ValueError(f"the AE title {duplicates[0]} is given twice: keep one entry for it.")
    return peers


def _peer(number: int, entry: object) -> Peer:
    if isinstance(entry, Peer):
        return entry
    if not isinstance(entry, Mapping):
        raise ValueError(  # noqa: TRY004 - pydantic takes no other
            f"entry {number} is no mapping: give keys like {{aeTitle: WS1, may: [move]}}."
        )
    content = _by_field(number, entry)
    try:
        return Peer(**content)
    except ValidationError as invalid:
        sentences = [_sentence(each) for each in invalid.errors()]
        raise ValueError(f"{_label(number, content)}: {' '.join(sentences)}") from None


def _by_field(number: int, entry: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the entry by field name; a key without a value counts as absent."""
    content: dict[str, Any] = {}
    for key, value in entry.items():
        name = snake_case(str(key))
        if name not in Peer.model_fields:
            raise ValueError(f"{_label(number, entry)}: {_unknown(str(key), name)}")
        if name in content:
            raise ValueError(f"{_label(number, entry)}: {camel_case(name)} is given twice.")
        if value is not None:
            content[name] = value.strip() if isinstance(value, str) else value
    return content


def _unknown(key: str, name: str) -> str:
    close = get_close_matches(name, Peer.model_fields, n=1)
    known = ", ".join(map(camel_case, Peer.model_fields))
    cure = f"did you mean {camel_case(close[0])}?" if close else f"the keys are {known}."
    return f"{key!r} is not a key: {cure}"


def _label(number: int, entry: Mapping[Any, Any]) -> str:
    title = entry.get("ae_title", entry.get("aeTitle", ""))
    is_title = isinstance(title, str) and re.fullmatch(r"[\x20-\x7e]{1,16}", title)
    return f"entry {number} ({title})" if is_title else f"entry {number}"


def _sentence(error: ErrorDetails) -> str:
    reason = " ".join(error["msg"].removeprefix("Value error, ").split()).rstrip(".")
    if error["type"] == "missing":
        reason = "it is missing"
    where = f"{camel_case(str(error['loc'][0]))}: " if error["loc"] else ""
    return f"{where}{reason[:1].lower() if where else reason[:1]}{reason[1:]}."


Peers = Annotated[tuple[Peer, ...], NoDecode, BeforeValidator(_peers)]
