"""The command `prove`: stores a test instance through the installed services, and finds it again.

It prints one line for each step, as `check` does, for each storage space. The proxy is one of its
own within this process, unless another is named. It leaves a small instance in each space that is
marked as a test's.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
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
                await _prove_all(report, proxy, longest, Path(folder))
    except ConfigurationMistake as mistake:
        for sentence in mistake.sentences:
            report.fail("settings", sentence)
    return int(report.failed)


async def run_at(
    address: tuple[str, int], called_ae_titles: Sequence[str], calling_ae_title: str
) -> int:
    """Prove the path by the proxy that listens at `address`, for each AE title that it is called.

    Return 0 when all went well, else 1.
    """
    called = [_title("--called", each) for each in called_ae_titles]
    calling = _title("--calling", calling_ae_title)
    report = _report()
    with tempfile.TemporaryDirectory(prefix="dimse-prove-") as folder:
        for title in called:
            modality = Modality(address, title, calling)
            await _prove(report, modality, Path(folder), _prefix(title, len(called)))
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
    """Load the proxy's settings, with its access and its filters replaced: only we use it.

    A C-STORE is answered when the whole path has the instance, whatever the setting is.
    """
    settings = ProxySettings.load(
        config,
        host=_LOOPBACK,
        port=0,
        http_host=_LOOPBACK,
        http_port=0,
        spool_directory=folder / "spool",
        acknowledge="stored",
        storage_commitment_enabled=False,
        audit_repository=None,
        calling_ae_titles=(),
        source_networks=(),
        image_sop_classes=(),
        transfer_syntaxes=(),
        tls_certificate_path=None,
        tls_key_path=None,
        tls_client_ca_path=None,
    )
    theirs = {"acknowledge": None, "calling_ae_titles": None, "source_networks": None}
    spaces = tuple(each.model_copy(update=theirs) for each in settings.spaces)
    return settings.model_copy(update={"spaces": spaces})


async def _prove_all(report: Report, proxy: RunningProxy, longest: float, folder: Path) -> None:
    """Prove the path of each storage space, whether the others' work or not."""
    deadline = asyncio.get_running_loop().time() + longest
    for space in proxy.spaces:
        title = space.settings.ae_title
        prefix = _prefix(title, len(proxy.spaces))
        try:
            async with asyncio.timeout_at(deadline):
                await space.path.wait_until_open()
        except TimeoutError:
            await _report_problems(report, proxy, title, longest)
            continue
        report.ok(f"{prefix}proxy: NATS, ingestion service, bucket and catalogue are reached")
        modality = Modality(proxy.address, title, CALLING_AE_TITLE)
        await _prove(report, modality, folder, prefix)


def _prefix(title: str, spaces: int) -> str:
    """Return what a line begins with: the storage space, if there are several."""
    return f"{title}, " if spaces > 1 else ""


async def _report_problems(report: Report, proxy: RunningProxy, title: str, longest: float) -> None:
    """Print why the path of a storage space was not open within `longest` seconds."""
    problems = dict(await proxy.health.problems())
    if len(proxy.spaces) > 1:
        name = f"space {title}"
        problems = {name: (await proxy.health.notes()).get(name, "")}
    for name, problem in problems.items():
        report.fail(name, problem or f"No C-ECHO has succeeded within {longest:g} s.")
    if not problems:
        report.fail("path", f"No C-ECHO has succeeded within {longest:g} s.")


async def _prove(report: Report, modality: Modality, folder: Path, prefix: str = "") -> None:
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
            report.ok(f"{prefix}{name}: {await asyncio.to_thread(step)}")
        except NoAnswer as error:
            report.fail(f"{prefix}{name}", str(error))
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
