"""Ports on 127.0.0.1 for what is started, each given once, also among several test processes.

A port that is only looked up may be another's when it is listened on, seconds later on a busy
machine: an outgoing connection gets one of the system's ephemeral ports, and another test process
looks up the same one. These ports lie below the ephemeral ones, and are reserved by a lock on a
byte of a file until the process ends.
"""

import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from itertools import chain
from pathlib import Path

_FIRST = 12_000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_EPHEMERAL = 32_768
_given: set[int] = set()


def free_port() -> int:
    """Return a port on 127.0.0.1 that nothing listens on, and that no other caller gets.

    Raises RuntimeError when all are given.
    """
    last = _first_ephemeral() - 1
    start = random.randint(_FIRST, last)
    for port in chain(range(start, last + 1), range(_FIRST, start)):
        if port not in _given and _reserve(port):
            _given.add(port)
            if _is_free(port):
                return port
    raise RuntimeError(f"All ports from {_FIRST} to {last} are in use.")


def _reserve(port: int) -> bool:
    """Reserve a port for this process; return False if another process has it."""
    try:
        fcntl.lockf(_locks(os.getpid()), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


@cache
def _locks(process: int) -> int:  # noqa: ARG001 - a forked process has no locks of its parent's
    """Return the descriptor of the file of locks, which stays open: closing it gives all back."""
    path = Path(tempfile.gettempdir(), f"dimse-ports-{os.getuid()}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _first_ephemeral() -> int:
    try:
        return int(_EPHEMERAL.read_text().split()[0])
    except OSError:  # not Linux
        return _USUAL_EPHEMERAL
