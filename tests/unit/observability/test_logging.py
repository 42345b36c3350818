import io
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog

from dimse_ingestion.observability import tracing
from dimse_ingestion.observability.logging import configure, log_context, logger

LOG = logger("a.module")


def only_line(lines: io.StringIO) -> dict[str, Any]:
    (line,) = lines.getvalue().splitlines()
    match: dict[str, Any] = json.loads(line)
    return match


def test_a_line_is_one_json_object_with_service_logger_and_fields(lines: io.StringIO) -> None:
    LOG.info("Stored.", size=12, sop_instance_uid="1.2.3")
    line = only_line(lines)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "Stored.",
        "level": "info",
        "service": "proxy",
        "logger": "a.module",
        "size": 12,
        "sop_instance_uid": "1.2.3",
    }


def test_lines_below_the_level_are_left_out(lines: io.StringIO) -> None:
    LOG.debug("For a developer.")
    logging.getLogger("nats").debug("For a developer.")
    assert lines.getvalue() == ""


def test_ids_bound_around_are_in_each_line_and_gone_afterwards(lines: io.StringIO) -> None:
    with log_context(association_id="a1", operation_id="o1"):
        LOG.info("Within.")
    LOG.info("After.")
    within, after = (json.loads(line) for line in lines.getvalue().splitlines())
    assert (within["association_id"], within["operation_id"]) == ("a1", "o1")
    assert "association_id" not in after


def test_a_librarys_line_has_the_same_form(lines: io.StringIO) -> None:
    with log_context(association_id="a1"):
        logging.getLogger("nats").warning("slow %s", "consumer")
    line = only_line(lines)
    assert (line["event"], line["level"], line["logger"]) == ("slow consumer", "warning", "nats")
    assert (line["service"], line["association_id"]) == ("proxy", "a1")


def test_a_trace_is_named(lines: io.StringIO) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    with tracing.span("C-STORE", f"00-{trace_id}-b7ad6b7169203331-01"):
        LOG.info("Within.")
    assert only_line(lines)["trace_id"] == trace_id


@pytest.mark.parametrize(
    "name",
    [
        "patient_name",
        "patient_id",
        "PatientID".lower(),
        "birth_date",
        "accession_number",
        "referring_physician_name",
        "identifier",
        "elements",
        "data_set",
        "nats_auth_token",
        "password",
    ],
)
def test_patient_data_and_credentials_are_withheld(lines: io.StringIO, name: str) -> None:
    LOG.warning("Careless.", **{name: "Yamada^Tarou"})
    assert "Yamada" not in lines.getvalue()
    assert only_line(lines)[name] == "[withheld]"


def test_bytes_are_never_written(lines: io.StringIO) -> None:
    LOG.warning("Careless.", fragment=b"Yamada^Tarou", other=memoryview(b"abc"))
    line = only_line(lines)
    assert (line["fragment"], line["other"]) == ("[12 bytes]", "[3 bytes]")


@pytest.mark.parametrize("value", ["1.2\0\x10\0\x10\0PN Yamada", "Yamada", "1" * 65, "1.2\n3"])
def test_what_is_no_uid_is_withheld_in_the_place_of_one(lines: io.StringIO, value: str) -> None:
    LOG.warning("Damaged.", sop_instance_uid=value, sop_class_uid="1.2.840 ", study_uid="1.2\0")
    line = only_line(lines)
    assert line["sop_instance_uid"] == "[withheld]"
    assert (line["sop_class_uid"], line["study_uid"]) == ("1.2.840 ", "1.2\0")


def test_values_in_the_texts_of_exceptions_are_withheld(lines: io.StringIO) -> None:
    name = "^".join(("Yamada", "Tarou"))  # source lines are in a traceback
    try:
        try:
            int(name)
        except ValueError as error:
            raise ExceptionGroup(
                "several", [KeyError(f"{name}'s"), TypeError(f"it's '{name}'"), error]
            ) from error
    except ExceptionGroup:
        logging.getLogger("asyncio").exception("A mistake of ours.")
    text = only_line(lines)["exception"]
    assert "Yamada^Tarou" not in text
    assert "invalid literal for int() with base 10: '[withheld]'" in text


def test_an_exception_comes_with_its_traceback_but_no_local_values(lines: io.StringIO) -> None:
    def careless(patient: str) -> None:
        raise ValueError(len(patient))

    try:
        careless("Yamada^Tarou")
    except ValueError:
        LOG.exception("A mistake of ours.")
    line = only_line(lines)
    assert "ValueError: 12" in line["exception"]
    assert "raise ValueError" in line["exception"]


def test_a_logger_writes_to_where_the_latest_configuration_says(lines: io.StringIO) -> None:
    bound = logger("a.module").bind(association_id="a1")
    bound.info("Before.")
    later = io.StringIO()
    configure("ingestion", "warning", stream=later)
    bound.info("Left out.")
    bound.warning("After.")
    assert only_line(lines)["event"] == "Before."
    line = only_line(later)
    assert (line["service"], line["association_id"]) == ("ingestion", "a1")
    assert (line["event"], line["logger"], line["level"]) == ("After.", "a.module", "warning")


def test_an_inner_context_adds_to_the_outer_one_and_a_lines_field_wins(lines: io.StringIO) -> None:
    with log_context(association_id="a1", operation_id="o1"), log_context(operation_id="o2"):
        LOG.info("Inner.")
        LOG.info("Own.", operation_id="o3")
    inner, own = (json.loads(line) for line in lines.getvalue().splitlines())
    assert (inner["association_id"], inner["operation_id"]) == ("a1", "o2")
    assert own["operation_id"] == "o3"


def test_a_logger_can_be_used_first_by_two_threads_at_once(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, threads = logger("another.module"), ThreadPoolExecutor(1)
    get_logger, is_first = structlog.get_logger, iter([True])

    def interrupted() -> Any:
        if next(is_first, False):
            threads.submit(log.info, "From a thread.").result()
        return get_logger()

    monkeypatch.setattr(structlog, "get_logger", interrupted)
    log.info("From the first.")
    threads.shutdown()
    events = [json.loads(line)["event"] for line in lines.getvalue().splitlines()]
    assert events == ["From a thread.", "From the first."]
