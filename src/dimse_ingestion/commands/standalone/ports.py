"""The ports that `standalone` listens on, checked before its services start.

A port in use is then reported at once: later, all services would have to be drained first. The
services listen themselves, so that a port taken in between is still an error of theirs.
"""

import socket
from collections.abc import Mapping
from contextlib import ExitStack

from dimse_ingestion.settings.errors import address_mistake


def free_port(host: str) -> int:
    """Return a free port: events contain DICOMweb's URL before it listens."""
    try:
        with _listener(host, 0) as listening:
            port: int = listening.getsockname()[1]
            return port
    except OSError as error:
        raise address_mistake("--host", host, error) from None


def check_ports(host: str, ports: Mapping[str, int]) -> None:
    """Raise ConfigurationMistake for a port that can't be listened on now, or stands there twice.

    `ports` are the ports by the names of their settings.
    """
    with ExitStack() as listening:
        for variable, port in ports.items():
            try:
                listening.enter_context(_listener(host, port))
            except OSError as error:
                raise address_mistake(variable, f"{host}:{port}", error) from None


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)
