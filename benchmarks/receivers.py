"""Receivers that answer at once and keep nothing, each a process: what receiving itself costs.

All take PDUs of 128 KiB and send without Nagle's delay.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.association import LONGEST_PDU, Association
from benchmarks.ct_image import CT_IMAGE_STORAGE, EXPLICIT_VR_LITTLE_ENDIAN
from benchmarks.interpreter import measured_interpreter
from benchmarks.processes import Processes
from dimse_ingestion.observability.event_loop import run
from harness.modalities import program
from harness.ports import free_port
from harness.services import eventually

OURS, STORESCP, PYNETDICOM = "dimse-ingestion", "storescp", "pynetdicom"
RECEIVERS = (OURS, STORESCP, PYNETDICOM)


@contextmanager
def receiver(name: str) -> Iterator[tuple[int, Processes]]:
    """Start a receiver; yield its port and its processes."""
    port = free_port()
    process = subprocess.Popen(
        _command(name, port),
        env={**os.environ, **measured_interpreter().variables, "TCP_NODELAY": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: accepts_associations(port), bool)
        yield port, Processes({name: process.pid})
    finally:
        process.terminate()
        process.wait()


def accepts_associations(port: int) -> bool:
    """Open and release an association; return whether that succeeded."""
    try:
        Association(port, CT_IMAGE_STORAGE).release()
    except (OSError, RuntimeError):
        return False
    return True


def _command(name: str, port: int) -> list[str]:
    if name == STORESCP:
        options = ["--fork", "--ignore", "-pdu", str(LONGEST_PDU)]
        return [program("storescp"), *options, str(port)]
    return [measured_interpreter().program, "-m", "benchmarks.receivers", name, str(port)]


def serve(name: str, port: int) -> None:
    """Be a receiver until killed."""
    if name == PYNETDICOM:
        _serve_pynetdicom(port)
    else:
        run(_serve_upper_layer(port))


def _serve_pynetdicom(port: int) -> None:
    from pynetdicom import AE, evt

    ae = AE()
    ae.maximum_pdu_size = LONGEST_PDU
    ae.maximum_associations = 32
    ae.add_supported_context(CT_IMAGE_STORAGE, EXPLICIT_VR_LITTLE_ENDIAN)
    ae.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, lambda _: 0x0000)])


async def _serve_upper_layer(port: int) -> None:
    from benchmarks.discarding_services import DiscardingServices
    from dimse_ingestion.upper_layer.acceptor import listener

    async with listener(DiscardingServices(), "127.0.0.1", port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
