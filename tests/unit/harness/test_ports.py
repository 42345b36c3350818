"""Ports that are given once, among threads and processes, and not to outgoing connections."""

import socket
import subprocess
import sys

from harness import ports
from harness.ports import free_port


def test_no_port_is_given_twice() -> None:
    given = [free_port() for _ in range(200)]
    assert len(set(given)) == 200


def test_another_process_gets_none_of_them() -> None:
    mine = {free_port() for _ in range(50)}
    first, last = min(mine), max(mine)
    program = (
        "import random; from harness import ports; "
        f"random.randint = lambda *_: {first}; "
        f"print(*[ports.free_port() for _ in range({min(last - first, 500)})])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert mine.isdisjoint(map(int, printed.split()))


def test_outgoing_connections_get_none() -> None:
    assert free_port() < ports._first_ephemeral()


def test_a_port_in_use_is_passed_over() -> None:
    wanted = free_port()
    ports._given.discard(wanted)
    with socket.create_server(("127.0.0.1", wanted)):
        assert not ports._is_free(wanted)
    assert ports._is_free(wanted)
