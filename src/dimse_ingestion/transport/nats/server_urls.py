"""Where NATS is: the address as its users write it, turned into servers to try.

`host:port` as the original's users have it (its scheme then follows whether TLS is on), or
`nats://`, `tls://`, `ws://`, `wss://`; several by comma. Resolves no name, opens nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"nats": 4222, "tls": 4222, "ws": 80, "wss": 443}


class AddressError(ValueError):
    """An address that can't be one of NATS: the sentence says how to write it."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server to try."""

    scheme: str
    host: str
    port: int

    @property
    def encrypted(self) -> bool:
        """Whether nothing may be told to this server before TLS has verified it."""
        return self.scheme in ("tls", "wss")

    @property
    def websocket(self) -> bool:
        """Whether NATS is spoken over WebSocket."""
        return self.scheme in ("ws", "wss")

    @property
    def url(self) -> str:
        """The address with everything said."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_servers(addresses: str | Iterable[str], *, secure: bool = True) -> tuple[Server, ...]:
    """The servers of one or several addresses, in their order.

    `secure` is for those without a scheme: TLS or not. Raises AddressMistake with the cure.
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
