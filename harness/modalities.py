"""DCMTK's tools as modalities: another implementation that sends, queries and receives.

They run with TCP_NODELAY=1: DCMTK leaves Nagle's algorithm on, and each small object would cost
45 ms of delayed acknowledgement.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.ports import free_port
from harness.services import eventually

_ENVIRONMENT = {"TCP_NODELAY": "1"}
_TOOLS = (
    *("echoscu", "storescu", "findscu", "movescu", "getscu", "storescp"),
    *("dcmdump", "dcmconv", "dump2dcm"),
)


def missing() -> str:
    """Return why DCMTK's tools can't be used here; empty when they can."""
    absent = [tool for tool in _TOOLS if _found(tool) is None]
    return f"DCMTK is not installed ({', '.join(absent)} not on PATH)" if absent else ""


def program(tool: str) -> str:
    """Return the path of a DCMTK tool; raises FileNotFoundError when it isn't installed.

    pynetdicom puts commands of the same names beside Python: those are passed over.
    """
    if (match := _found(tool)) is None:
        raise FileNotFoundError(f"{tool} of DCMTK is not installed.")
    return match


def _found(tool: str) -> str | None:
    beside_python = Path(sys.executable).parent
    folders = os.environ.get("PATH", "").split(os.pathsep)
    others = (folder for folder in folders if Path(folder) != beside_python)
    return shutil.which(tool, path=os.pathsep.join(others))


@dataclass(frozen=True)
class Ended:
    """A tool that ran to its end."""

    status: int
    output: str


@dataclass(frozen=True)
class Peer:
    """The AE to talk to, and under which title."""

    host: str
    port: int
    called: str = "DICOM-INGEST"
    calling: str = "MODALITY"

    def arguments(self, *options: str) -> list[str]:
        """Return the arguments of an SCU before its files: titles, options, address."""
        titles = ["-aet", self.calling, "-aec", self.called]
        return [*titles, *options, self.host, str(self.port)]


def command(
    tool: str, peer: Peer, options: Sequence[str], files: Sequence[Path | str]
) -> list[str]:
    """Return a tool's whole command line."""
    return [program(tool), *peer.arguments(*options), *(str(file) for file in files)]


async def ran(tool: str, *arguments: str | Path, seconds: float = 120) -> Ended:
    """Run a tool while the event loop runs."""
    process = await asyncio.create_subprocess_exec(
        program(tool) if tool in _TOOLS else tool,
        *(str(argument) for argument in arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | _ENVIRONMENT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return Ended(process.returncode or 0, output.decode(errors="replace"))


async def echoscu(peer: Peer, *options: str) -> Ended:
    """Run echoscu."""
    return await ran("echoscu", *peer.arguments(*options))


async def storescu(peer: Peer, *files: Path | str, options: Sequence[str] = ()) -> Ended:
    """Run storescu with files, or folders with `+sd`."""
    return await ran("storescu", *peer.arguments(*options), *files)


async def findscu(peer: Peer, *keys: str, options: Sequence[str] = ("-S",)) -> Ended:
    """Run findscu; each key as `0008,0052=STUDY`."""
    request = [part for key in keys for part in ("-k", key)]
    return await ran("findscu", *peer.arguments("-v", *options, *request))


async def movescu(peer: Peer, destination: str, study: str, *options: str) -> Ended:
    """Request a C-MOVE of a study to an AE title; the output has each response."""
    request = [*_study_keys(study), "-aem", destination]
    return await ran("movescu", *peer.arguments("-d", "-S", *request, *options))


async def getscu(peer: Peer, folder: Path, study: str, *options: str) -> Ended:
    """Get a study by C-GET into a new folder, each data set as it was received."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    request = [*_study_keys(study), "+B", "-od", str(folder)]
    return await ran("getscu", *peer.arguments("-d", "-S", *request, *options))


def _study_keys(study: str) -> list[str]:
    return ["-k", "0008,0052=STUDY", "-k", f"0020,000d={study}"]


@contextmanager
def storescp(folder: Path, *options: str, port: int = 0) -> Iterator[Peer]:
    """Run DCMTK's server, which stores to `folder`; port 0 takes a free port."""
    port = port or free_port()
    process = subprocess.Popen(
        [program("storescp"), *options, "-od", str(folder), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | _ENVIRONMENT,
    )
    peer = Peer("127.0.0.1", port)
    try:
        eventually(lambda: is_listening(peer), bool)
        yield peer
    finally:
        process.terminate()
        process.wait()


def is_listening(peer: Peer) -> bool:
    """Return whether the peer accepts a TCP connection."""
    try:
        socket.create_connection((peer.host, peer.port), 1).close()
    except OSError:
        return False
    return True
