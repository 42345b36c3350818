"""The product's deed done once through what is installed: an instance sent, and found again.

One line for each step, as `check` tells. The proxy is one of its own within this process, unless
another is named. It leaves a small instance behind that says of itself that it is a test's.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from pydicom import Dataset
from rich.console import Console

from dimse_ingestion.commands.report import Report
from dimse_ingestion.dicom.ae_title import validate
from dimse_ingestion.observability import logging
from dimse_ingestion.proxy.app import running
from dimse_ingestion.proxy.service import OpenDoor
from dimse_ingestion.scu.associating import Modality, Unanswered
from dimse_ingestion.scu.instance_file import InstanceFile
from dimse_ingestion.scu.sample import written
from dimse_ingestion.settings import ConfigurationMistake, ProxySettings

CALLING_AE_TITLE = "DIMSE-PROVE"
_LOOPBACK = "127.0.0.1"
_FOUND_WITHIN = 10.0
"""Seconds after the C-STORE; an event that takes its way through a broker is not there at once."""
_PAUSE = 0.5
_LAST_PORT, _DIGITS = 65535, 5


async def run(config: Path | None, longest: float) -> int:
    """Prove the way by a proxy of our own, configured by `config` and the environment.

    It has `longest` seconds to get an echo all the way. 0 when all went well, else 1.
    """
    report = _report()
    try:
        with tempfile.TemporaryDirectory(prefix="dimse-prove-") as folder:
            settings = _settings(config, Path(folder))
            async with running(settings) as door:
                if await _is_ready(report, door, longest):
                    modality = Modality(door.address, door.ae_title, CALLING_AE_TITLE)
                    await _prove(report, modality, Path(folder))
    except ConfigurationMistake as mistake:
        for sentence in mistake.sentences:
            report.wrong("settings", sentence)
    return int(report.failed)


async def run_at(address: tuple[str, int], called_ae_title: str, calling_ae_title: str) -> int:
    """Prove the way by the proxy that listens at `address`. 0 when all went well, else 1."""
    called, calling = _title("--called", called_ae_title), _title("--calling", calling_ae_title)
    report = _report()
    with tempfile.TemporaryDirectory(prefix="dimse-prove-") as folder:
        modality = Modality(address, called, calling)
        await _prove(report, modality, Path(folder))
    return int(report.failed)


def address_of(text: str) -> tuple[str, int]:
    """The address written `host:port`. Raises ConfigurationMistake."""
    host, _, port = text.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and len(port) <= _DIGITS
    if not host or not is_port or not 0 < int(port) <= _LAST_PORT:
        raise ConfigurationMistake([f"--to {text}: give host:port, as in 10.1.2.3:11112."])
    return host.strip("[]"), int(port)


def _title(option: str, ae_title: str) -> str:
    try:
        return validate(ae_title)
    except ValueError as wrong:
        raise ConfigurationMistake([f"{option}: {wrong}"]) from None


def _report() -> Report:
    logging.configure("prove", "error")
    return Report(Console())


def _settings(config: Path | None, folder: Path) -> ProxySettings:
    """The proxy's, but for whom it listens to and what it takes: that is this process alone."""
    return ProxySettings.load(
        config,
        host=_LOOPBACK,
        port=0,
        http_host=_LOOPBACK,
        http_port=0,
        spool_directory=folder / "spool",
        calling_ae_titles=(),
        source_networks=(),
        image_sop_classes=(),
        transfer_syntaxes=(),
        tls_certificate_path=None,
        tls_key_path=None,
        tls_client_ca_path=None,
    )


async def _is_ready(report: Report, door: OpenDoor, longest: float) -> bool:
    try:
        await asyncio.wait_for(door.path.proved_open(), longest)
    except TimeoutError:
        for name, why in (await door.health.troubles()).items():
            report.wrong(name, why)
        if not report.failed:
            report.wrong("path", f"No echo has gone all the way within {longest:g} s.")
        return False
    report.well("proxy: NATS, ingestion service, bucket and catalogue are reached")
    return True


async def _prove(report: Report, modality: Modality, folder: Path) -> None:
    sample = written(folder)
    header = sample.header
    steps = {
        "C-ECHO": lambda: _echoed(modality),
        "C-STORE": lambda: _stored(modality, sample),
        "C-FIND at STUDY": lambda: _found(modality, header, "STUDY"),
        "C-FIND at IMAGE": lambda: _found(modality, header, "IMAGE"),
    }
    for name, step in steps.items():
        try:
            report.well(f"{name}: {await asyncio.to_thread(step)}")
        except Unanswered as wrong:
            report.wrong(name, str(wrong))
            return


def _echoed(modality: Modality) -> str:
    if status := modality.echo():
        raise Unanswered(f"answered with {status:04X}H; the proxy's /readyz says why.")
    return "went all the way"


def _stored(modality: Modality, sample: InstanceFile) -> str:
    (sent,) = modality.send([sample])
    if sent.status:
        raise Unanswered(f"answered with {sent.status:04X}H {sent.comment}".rstrip())
    uid = sample.header.SOPInstanceUID
    return f"a test instance is in bucket and catalogue after {sent.seconds:.2f} s ({uid})"


def _found(modality: Modality, header: Dataset, level: str) -> str:
    """Ask until it is found, or long enough."""
    keys = _KEYS[level]
    wanted = [str(header[key].value) for key in keys]
    deadline = time.monotonic() + _FOUND_WITHIN
    while not (matches := modality.find(_identifier(header, level))):
        if time.monotonic() > deadline:
            raise Unanswered(f"found nothing within {_FOUND_WITHIN:g} s of the C-STORE.")
        time.sleep(_PAUSE)
    if [[str(match.get(key, "")) for key in keys] for match in matches] != [wanted]:
        raise Unanswered("found something else than the instance that was stored.")
    return "found it, with the same UIDs"


_KEYS = {
    "STUDY": ("StudyInstanceUID", "PatientID"),
    "IMAGE": ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"),
}


def _identifier(header: Dataset, level: str) -> Dataset:
    """Unique keys with their values; of the others their value is asked for."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for key in _KEYS[level]:
        is_unique = key.endswith("InstanceUID")
        setattr(identifier, key, header[key].value if is_unique else "")
    return identifier
