"""The addresses of NATS servers, parsed from the setting.

`host:port` as in the original (the scheme then follows the TLS setting), or `nats://`, `tls://`,
`ws://`, `wss://`; several by comma. This module resolves no name and opens no connection.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"nats": 4222, "tls": 4222, "ws": 80, "wss": 443}


class AddressError(ValueError):
    """The address is not one of a NATS server; the text says how to write it."""


@dataclass(frozen=True, slots=True)
class Server:
    """The address of one server."""

    scheme: str
    host: str
    port: int

    @property
    def encrypted(self) -> bool:
        """Return whether TLS must verify this server before anything is sent to it."""
        return self.scheme in ("tls", "wss")

    @property
    def websocket(self) -> bool:
        """Return whether the connection uses WebSocket."""
        return self.scheme in ("ws", "wss")

    @property
    def url(self) -> str:
        """Return the address as a complete URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_servers(addresses: str | Iterable[str], *, secure: bool = True) -> tuple[Server, ...]:
    """Return the servers of one or several addresses, in their order.

    `secure` chooses TLS for an address without a scheme. Raises AddressError.
    """
    text = addresses if isinstance(addresses, str) else ",".join(addresses)
    servers = tuple(
        _parse_server(each.strip(), secure=secure) for each in text.split(",") if each.strip()
    )
    if not servers:
        raise AddressError("No NATS address: give host:port, or a URL like tls://host:4222.")
    return servers


def _parse_server(address: str, *, secure: bool) -> Server:
    full_url = address if "://" in address else f"{'tls' if secure else 'nats'}://{address}"
    try:
        parts = urlsplit(full_url)
        port = parts.port
    except ValueError:
        raise _address_error(address) from None
    host = parts.hostname
    if parts.scheme not in _DEFAULT_PORTS or not host or parts.path.strip("/"):
        raise _address_error(address)
    if any(letter.isspace() for letter in host):
        raise _address_error(address)
    if parts.username is not None:
        raise AddressError(
            f"The NATS address of {parts.hostname} has a credential in it: take it out and put it "
            "into the token Secret, which no log shows."
        )
    return Server(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme])


def _address_error(address: str) -> AddressError:
    return AddressError(
        f"{address!r} is not a NATS address: give host:port, nats://host:port, tls://host:port "
        "or wss://host:port, several by comma."
    )
