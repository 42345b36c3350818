"""The machine and the versions that were measured, without a name or a path."""

import os
import platform
import re
import subprocess
from pathlib import Path

import psutil

from benchmarks.interpreter import measured_interpreter
from harness.airgap.pins import MINIO
from harness.modalities import program
from harness.nats_server import nats_server_binary
from harness.postgresql import binary as postgresql_binary
from harness.s3_server import binary as s3_binary

_VERSION = re.compile(r"\bv?(\d+\.\d+(?:\.\d+)*)")
_MINIO_RELEASE = re.compile(r"RELEASE\.(\S+)")


def describe(folder: Path) -> dict[str, str]:
    """Return what the figures depend on; `folder` is on the file system that was written to."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": _file_system(folder),
        "Python": measured_interpreter().description,
        "commit": _commit(),
        **_versions(),
    }


def load_average() -> str:
    """Return how many processes wanted to run in the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def _processor() -> str:
    match = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return match[1] if match else platform.machine()


def _file_system(folder: Path) -> str:
    """Return the type of the file system that the folder is on."""
    path = folder.resolve()
    mounts = psutil.disk_partitions(all=True)
    above = [mount for mount in mounts if path.is_relative_to(mount.mountpoint)]
    return max(above, key=lambda mount: len(mount.mountpoint)).fstype if above else "unknown"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    described = subprocess.run(command, capture_output=True, text=True, check=False)
    return described.stdout.strip() or "unknown"


def _versions() -> dict[str, str]:
    programs = {
        "DCMTK": [program("storescp"), "--version"],
        "Orthanc": ["Orthanc", "--version"],
        "nats-server": [str(nats_server_binary()), "--version"],
        "PostgreSQL": [str(postgresql_binary("postgres")), "--version"],
    }
    versions = {name: _version(command, _VERSION) for name, command in programs.items()}
    minio = _version([str(s3_binary("minio")), "--version"], _MINIO_RELEASE)
    return versions | {"MinIO": minio or f"module {MINIO}"}


def _version(command: list[str], pattern: re.Pattern[str]) -> str:
    """Return the version that a program prints; empty when it prints none."""
    try:
        printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return "not installed"
    match = pattern.search(printed)
    return match[1] if match else ""
