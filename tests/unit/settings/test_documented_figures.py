"""Numbers, labels, statuses and lists in the documentation are those of the code."""

import re
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase
from typer.models import CommandInfo

from dimse_ingestion.catalogue import request_body
from dimse_ingestion.cli import app
from dimse_ingestion.dicom import criteria, limits
from dimse_ingestion.dicom.metadata_limits import MOST_ELEMENTS, MOST_VALUES
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicomweb.store.metadata_upload import LONGEST_METADATA
from dimse_ingestion.observability import metrics, probes
from dimse_ingestion.operations.decompression import MAXIMUM_DECOMPRESSED
from dimse_ingestion.proxy import acceptance
from dimse_ingestion.settings import (
    CatalogueSettings,
    DicomwebSettings,
    IngestionSettings,
    OperatorSettings,
    ProxySettings,
)
from dimse_ingestion.settings.service import ServiceSettings
from dimse_ingestion.spooling.spool import Limits as SpoolLimits
from dimse_ingestion.storage.object_store import PART_SIZE
from dimse_ingestion.transport.client.batch_fetch import OLDER_FOR
from dimse_ingestion.transport.client.store_client import SLOW_LINE
from dimse_ingestion.transport.nats.options import NatsOptions
from dimse_ingestion.transport.protocol import batches, fetch, fetch_batch
from dimse_ingestion.transport.protocol.codec import (
    HEADROOM,
    INLINE_IN_FLIGHT,
    MAXIMUM_CHUNK,
    MAXIMUM_INLINE,
)
from dimse_ingestion.transport.protocol.messages import MOST_OBJECTS
from dimse_ingestion.transport.protocol.timeouts import Timeouts
from dimse_ingestion.transport.server import result_cache
from dimse_ingestion.transport.server.flow_limits import FlowLimits
from dimse_ingestion.upper_layer import command_set, pdata
from dimse_ingestion.upper_layer.limits import UpperLayerLimits

ROOT = Path(__file__).parents[3]
OPERATING, CONFORMANCE, TRANSPORT = (
    (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name in ("operating", "conformance", "transport")
)
_PING = NatsOptions.__dataclass_fields__["ping_interval"].default
README = (ROOT / "README.md").read_text(encoding="utf-8")
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
SECTIONS: dict[type[ServiceSettings], tuple[str, ...]] = {
    ProxySettings: ("Every service", "NATS", "Proxy"),
    IngestionSettings: ("Every service", "NATS", "Ingestion service"),
    DicomwebSettings: ("Every service", "Ingestion service", "DICOMweb"),
    CatalogueSettings: ("Every service", "Catalogue"),
    OperatorSettings: ("Every service", "Operator"),
}


def section(page: str, heading: str) -> str:
    """Return what stands below a heading that begins so, up to the next heading."""
    match = re.search(
        rf"^#+ {re.escape(heading)}.*?$(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL
    )
    assert match, heading
    return match[1]


def rows(text: str) -> list[list[str]]:
    """Return the cells of each row of the tables."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def documented_value(cell: str) -> object:
    """Return a default as Python has it; None for one that is described in words."""
    if cell == "none":
        return ""
    match = re.fullmatch(r"`([^`]*)`", cell)
    if match is None:
        return None
    text = match[1]
    if text in ("true", "false"):
        return text == "true"
    if number := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi)?", text):
        return float(number[1]) * UNITS.get(number[2], 1)
    return text


@pytest.mark.parametrize("settings", SECTIONS)
def test_defaults_of_settings_are_those_of_the_code(settings: type[ServiceSettings]) -> None:
    documented = {
        cells[0].strip("`"): cells[-2]
        for name in SECTIONS[settings]
        for cells in rows(section(OPERATING, name))
    }
    wrong = {}
    for field, variable in settings.names().items():
        cell = documented.get(variable, "")
        value = documented_value(cell)
        default = settings.model_fields[field].default
        if isinstance(default, bool | int | float | str) and value is not None and value != default:
            wrong[variable] = (cell, default)
    assert not wrong


def test_labels_and_meanings_of_metrics_are_those_of_the_code() -> None:
    documented = {cells[0].strip("`"): cells[1:] for cells in rows(section(OPERATING, "Metrics"))}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.collect()
            name = family.name + ("_total" if family.type == "counter" else "")
            labels, meaning = documented[name]
            assert re.findall(r"`(\w+)`", labels) == list(metric._labelnames), name
            assert meaning.replace("`", "") == f"{family.documentation}.", name


def test_times_of_the_transport_are_those_of_the_code() -> None:
    text = section(TRANSPORT, "Times and sizes")
    documented = {float(number) for number in re.findall(r"([0-9.]+) s\b", text)}
    fields = Timeouts.__dataclass_fields__.values()
    assert documented == {field.default for field in fields}


def test_the_time_for_an_open_with_its_data_set_is_that_of_the_code() -> None:
    assert f"{SLOW_LINE // 1024} KiB/s" in section(TRANSPORT, "Times and sizes")


def test_busy_pause_and_cached_results_are_those_of_the_code() -> None:
    text = section(TRANSPORT, "Times and sizes")
    assert re.search(rf"busy.*\| {Timeouts().busy_retry_after:g} s \|", text)
    remaining = f"{Timeouts().result_retention:g} s, at most {result_cache._MAX_RESULTS} "
    assert remaining in text


def test_sizes_of_the_transport_are_those_of_the_code() -> None:
    allowed = FlowLimits()
    sizes = (
        f"{MAXIMUM_CHUNK // 1024} KiB",
        f"{MAXIMUM_INLINE // 1024} KiB",
        f"{INLINE_IN_FLIGHT // 2**20} MiB of a proxy's",
        f"{HEADROOM // 1024} KiB",
        f"{allowed.window // 2**20} MiB",
        f"{allowed.largest_window // 2**20} MiB",
        f"{allowed.total_window // 2**20} MiB",
        f"{allowed.min_window // 2**20} MiB",
        f"{allowed.sessions} ",
        f"{allowed.echoes}",
        f"{allowed.fetches} are open",
        f"{allowed.total_fetch_window // 2**20} MiB",
        f"{fetch.WINDOW // 2**20} MiB beyond",
        f"{fetch.LEAST_WINDOW // 2**20} MiB while",
        f"up to {fetch_batch.OBJECTS_PER_BATCH} data sets",
        f"{fetch_batch.LONGEST_IN_BATCH // 1024} KiB each",
        f"more than {MOST_OBJECTS} objects",
        f"no batches for {OLDER_FOR:g} s",
        f"{batches.BATCH // 1024} KiB",
    )
    flow = section(TRANSPORT, "Flow")
    assert not [size for size in sizes if size not in flow]
    assert f"each {_PING:g} s" in section(TRANSPORT, "Connection")


def test_limits_of_associations_are_those_of_the_code() -> None:
    text = section(CONFORMANCE, "2.1 Association policies")
    numbers = {int(number) for number in re.findall(r"\b\d{2,}\b", text)}
    limit = UpperLayerLimits()
    assert {
        ProxySettings.model_fields["maximum_associations"].default,
        limit.maximum_connections,
        limit.maximum_pdu_length,
        pdata._LONGEST_OTHER,
        command_set.LONGEST,
    } <= numbers


def test_timers_and_limits_are_those_of_the_code() -> None:
    settings = ProxySettings.model_fields
    text = section(CONFORMANCE, "2.7 Timers and limits")
    for name in (
        "artim_timeout",
        "association_idle_timeout",
        "message_timeout",
        "write_timeout",
        "operation_timeout",
    ):
        assert f"| {settings[name].default:g} s |" in text, name
    assert f"| {Timeouts().echo_deadline:g} s |" in text
    assert f"| {settings['maximum_identifier_length'].default // 2**20} MiB |" in text
    assert f"({SpoolLimits().disk // 2**30} GiB)" in text
    whole, identifier = limits.ParserLimits(), limits.IDENTIFIER
    assert f"| {whole.depth} |" in text
    assert f"| {whole.parts:,}; {identifier.parts:,} |" in text
    assert f"| {whole.inflated // 2**30} GiB; {identifier.inflated // 2**20} MiB |" in text


def test_limits_of_queries_are_those_of_the_code() -> None:
    query, stored = section(CONFORMANCE, "2.5 Query"), limits.ParserLimits()
    assert f"{criteria.MOST_PATTERNS} values and {criteria.LONGEST_PATTERNS} characters" in query
    assert f"({ProxySettings.model_fields['maximum_matches'].default})" in query
    for size in (stored.text, stored.binary):
        assert f"above {size // 1024} KiB" in query
    assert f"above {stored.sequence // 2**20} MiB" in query
    assert f"More than {criteria.MOST_KEYS} keys have values." in OPERATING


def test_limits_of_dicomweb_are_those_of_the_code() -> None:
    text = section(CONFORMANCE, "3.1 DICOMweb")
    assert f"{LONGEST_METADATA // 2**20} MiB a part" in text
    assert f"{MOST_ELEMENTS:,} elements and items and {MOST_VALUES:,} values" in text
    assert f"up to {MAXIMUM_DECOMPRESSED // 2**20} MiB" in text


def test_times_of_the_probes_and_sizes_of_uploads_are_those_of_the_code() -> None:
    text = section(OPERATING, "Probes")
    assert f"{probes._CHECK_TIMEOUT:g} s" in text
    assert f"every {probes._CHECK_INTERVAL:g} s" in text
    assert f"above {PART_SIZE // 2**20} MiB" in section(OPERATING, "Lifecycle rule")
    assert f"{request_body._MOST_HELD // 2**20} MiB of request bodies" in OPERATING


def test_extended_negotiation_is_that_of_the_code() -> None:
    text = section(CONFORMANCE, "2.6 Extended negotiation")
    assert acceptance._granted(b"\1\1\1\1\1", is_query=True) == b"\1\1\0\0\0"
    assert acceptance._granted(b"\1\1\1\1\1", is_query=False) == b"\1\0\0\0\0"
    assert re.search(r"relational queries \(byte 1\) and combined date-time .*\(byte 2\)", text)
    assert "no combined" not in CONFORMANCE


def test_statuses_are_those_of_the_code() -> None:
    statuses = {f"{status:04X}" for status in Status}
    tables = [section(CONFORMANCE, f"2.{number} ") for number in (3, 4, 5)]
    documented = {cells[0] for text in tables for cells in rows(text)}
    named = {cell for cell in documented if re.fullmatch(r"[0-9A-F]{4}", cell)}
    assert named
    assert named <= statuses


def command_name(command: CommandInfo) -> str:
    if command.name:
        return command.name
    assert command.callback is not None
    return command.callback.__name__


def test_every_command_and_service_is_in_the_readme_and_in_operating() -> None:
    groups = {str(each.name) for each in app.registered_groups}
    commands = {command_name(each) for each in app.registered_commands} | groups
    assert {"proxy", "ingestion", "dicomweb", "catalogue", "operator"} <= commands
    rest = section(README, "Values and settings")
    listed = {cells[0].removeprefix("`dimse-ingestion ").rstrip("`") for cells in rows(rest)}
    assert commands - {"demo"} == listed - {"service or command"}
    services = {cells[0] for cells in rows(section(OPERATING, "Probes"))[1:]}
    assert services == {"proxy", "ingestion", "dicomweb", "catalogue", "operator"}
