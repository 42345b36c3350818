"""The AEs that a proxy knows by title: what each may request, and where it is reached.

A modality that only stores and queries needs no entry here. Entries are written as in
`proxy.yaml`; the environment has the same list as JSON. Connections to them are not part of this.
"""

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_settings import NoDecode

from dimse_ingestion.settings.entries import parse_entries
from dimse_ingestion.settings.types import AeTitle, Count, is_host, split_list

Right = Literal["move", "get", "commit"]
"""A service that a peer may request: C-MOVE, C-GET, storage commitment."""
_EXAMPLE = "peers like [{aeTitle: WS1, host: 10.1.2.3, port: 11112, may: [move]}]"


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
    return parse_entries(value, Peer, _EXAMPLE)


Peers = Annotated[tuple[Peer, ...], NoDecode, BeforeValidator(_peers)]
