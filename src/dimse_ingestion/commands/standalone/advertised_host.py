"""The host under which others reach this machine, for URLs in events and in the ready line.

A wildcard address (0.0.0.0, ::) is none that a client can connect to. It is replaced by the
address of this machine towards other networks.
"""

import socket
from ipaddress import ip_address

_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}  # RFC 5737, RFC 3849
_DISCARD = 9


def advertised_host(host: str) -> str:
    """Return the host that others connect to, for a host that is listened on."""
    if not _means_every_address(host):
        return host
    families = (socket.AF_INET6, socket.AF_INET) if ":" in host else (socket.AF_INET,)
    match = filter(None, map(_towards_others, families))
    return next(match, "::1" if ":" in host else "127.0.0.1")


def _means_every_address(host: str) -> bool:
    try:
        return ip_address(host or "0.0.0.0").is_unspecified  # noqa: S104 - compared, not bound
    except ValueError:
        return False


def _towards_others(family: socket.AddressFamily) -> str:
    """Return this machine's address for outgoing packets, or an empty string. Nothing is sent."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((_ELSEWHERE[family], _DISCARD))
            return str(asking.getsockname()[0])
    except OSError:
        return ""
