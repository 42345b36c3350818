"""The command `prove`: stores a test instance through the installed services, and finds it again.

It prints one line for each step, as `check` does. The proxy is one of its own within this process,
unless another is named. It leaves a small instance behind that is marked as a test's.
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
from dimse_ingestion.proxy.service import RunningProxy
from dimse_ingestion.scu.instance_file import InstanceFile, write_sample
from dimse_ingestion.scu.modality import Modality, NoAnswer
from dimse_ingestion.settings import ConfigurationMistake, ProxySettings

CALLING_AE_TITLE = "DIMSE-PROVE"
_LOOPBACK = "127.0.0.1"
_FIND_TIMEOUT = 10.0
"""Seconds after the C-STORE; an event that goes through a broker is not there at once."""
_PAUSE = 0.5
_LAST_PORT, _DIGITS = 65535, 5


async def run(config: Path | None, longest: float) -> int:
    """Prove the path by a proxy of our own, configured by `config` and the environment.

    Its echo must succeed within `longest` seconds. Return 0 when all went well, else 1.
    """
    report = _report()
    try:
        with tempfile.TemporaryDirectory(prefix="dimse-prove-") as folder:
            settings = _settings(config, Path(folder))
            async with running(settings) as proxy:
                if await _is_ready(report, proxy, longest):
                    modality = Modality(proxy.address, proxy.ae_title, CALLING_AE_TITLE)
                    await _prove(report, modality, Path(folder))
    except ConfigurationMistake as mistake:
        for sentence in mistake.sentences:
            report.fail("settings", sentence)
    return int(report.failed)


async def run_at(address: tuple[str, int], called_ae_title: str, calling_ae_title: str) -> int:
    """Prove the path by the proxy that listens at `address`; return 0 when all went well."""
    called, calling = _title("--called", called_ae_title), _title("--calling", calling_ae_title)
    report = _report()
    with tempfile.TemporaryDirectory(prefix="dimse-prove-") as folder:
        modality = Modality(address, called, calling)
        await _prove(report, modality, Path(folder))
    return int(report.failed)


def address_of(text: str) -> tuple[str, int]:
    """Parse `host:port`. Raises ConfigurationMistake."""
    host, _, port = text.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and len(port) <= _DIGITS
    if not host or not is_port or not 0 < int(port) <= _LAST_PORT:
        raise ConfigurationMistake([f"--to {text}: give host:port, as in 10.1.2.3:11112."])
    return host.strip("[]"), int(port)


def _title(option: str, ae_title: str) -> str:
    try:
        return validate(ae_title)
    except ValueError as error:
        raise ConfigurationMistake([f"{option}: {error}"]) from None


def _report() -> Report:
    logging.configure("prove", "error")
    return Report(Console())


def _settings(config: Path | None, folder: Path) -> ProxySettings:
    """Load the proxy's settings, with its access and its filters replaced: only we use it."""
    return ProxySettings.load(
        config,
        host=_LOOPBACK,
        port=0,
        http_host=_LOOPBACK,
        http_port=0,
        spool_directory=folder / "spool",
        storage_commitment_enabled=False,
        calling_ae_titles=(),
        source_networks=(),
        image_sop_classes=(),
        transfer_syntaxes=(),
        tls_certificate_path=None,
        tls_key_path=None,
        tls_client_ca_path=None,
    )


async def _is_ready(report: Report, proxy: RunningProxy, longest: float) -> bool:
    try:
        await asyncio.wait_for(proxy.path.wait_until_open(), longest)
    except TimeoutError:
        for name, problem in (await proxy.health.problems()).items():
            report.fail(name, problem)
        if not report.failed:
            report.fail("path", f"No C-ECHO has succeeded within {longest:g} s.")
        return False
    report.ok("proxy: NATS, ingestion service, bucket and catalogue are reached")
    return True


async def _prove(report: Report, modality: Modality, folder: Path) -> None:
    sample = write_sample(folder)
    header = sample.header
    steps = {
        "C-ECHO": lambda: _echo(modality),
        "C-STORE": lambda: _store(modality, sample),
        "C-FIND at STUDY": lambda: _find(modality, header, "STUDY"),
        "C-FIND at IMAGE": lambda: _find(modality, header, "IMAGE"),
    }
    for name, step in steps.items():
        try:
            report.ok(f"{name}: {await asyncio.to_thread(step)}")
        except NoAnswer as error:
            report.fail(name, str(error))
            return


def _echo(modality: Modality) -> str:
    if status := modality.echo():
        raise NoAnswer(f"answered with {status:04X}H; the proxy's /readyz says why.")
    return "succeeded"


def _store(modality: Modality, sample: InstanceFile) -> str:
    (sent,) = modality.send([sample])
    if sent.status:
        raise NoAnswer(f"answered with {sent.status:04X}H {sent.comment}".rstrip())
    uid = sample.header.SOPInstanceUID
    return f"a test instance is in bucket and catalogue after {sent.seconds:.2f} s ({uid})"


def _find(modality: Modality, header: Dataset, level: str) -> str:
    """Query until there are matches, or the time is over."""
    keys = _KEYS[level]
    wanted = [str(header[key].value) for key in keys]
    deadline = time.monotonic() + _FIND_TIMEOUT
    while not (matches := modality.find(_identifier(header, level))):
        if time.monotonic() > deadline:
            raise NoAnswer(f"found nothing within {_FIND_TIMEOUT:g} s of the C-STORE.")
        time.sleep(_PAUSE)
    if [[str(match.get(key, "")) for key in keys] for match in matches] != [wanted]:
        raise NoAnswer("found something else than the instance that was stored.")
    return "found it, with the same UIDs"


_KEYS = {
    "STUDY": ("StudyInstanceUID", "PatientID"),
    "IMAGE": ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"),
}


def _identifier(header: Dataset, level: str) -> Dataset:
    """Return an identifier with values for the unique keys, and the others as return keys."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for key in _KEYS[level]:
        is_unique = key.endswith("InstanceUID")
        setattr(identifier, key, header[key].value if is_unique else "")
    return identifier
