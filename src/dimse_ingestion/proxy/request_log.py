"""The record of each answered request: one log line, a span, a count and its duration.

It does not answer requests (see `bridge`).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.observability import metrics, tracing
from dimse_ingestion.observability.logging import log_context, logger
from dimse_ingestion.upper_layer.services import Message

_LOG = logger(__name__)
_NAMES = {"commit": "N-ACTION"}
_NOT_WORTH_A_WARNING = (Status.SUCCESS, Status.CANCEL)


class RequestRecord:
    """Collect the fields of a request's log line while it is performed."""

    def __init__(self, service: str, operation_id: str) -> None:
        self.service = service
        self.operation_id = operation_id
        self.status = Status.PROCESSING_FAILURE
        self.comment = ""
        self.facts: dict[str, Any] = {}


@contextmanager
def request_log(
    service: str, message: Message, operation_id: str, space: str = ""
) -> Iterator[RequestRecord]:
    """Log and count the request at the end of the block, however it ends.

    `space` is the AE title of its storage space, as label of the metrics. Log lines and spans
    within the block carry the ids of its association and operation.
    """
    request = message.association.request
    record = RequestRecord(service, operation_id)
    started = time.monotonic()
    ids = {"association_id": request.association_id, "operation_id": operation_id}
    with log_context(**ids), tracing.span(_name(service), **ids) as span:
        try:
            yield record
        finally:
            seconds = time.monotonic() - started
            span.set_attribute("dicom.status", f"{record.status:04X}")
            metrics.proxy_operation_seconds.labels(service, space).observe(seconds)
            metrics.proxy_operations.labels(service, f"{record.status:04X}", space).inc()
            _log(record, message, seconds)


def _name(service: str) -> str:
    """Return the DIMSE service's name (PS3.7)."""
    return _NAMES.get(service, f"C-{service.upper()}")


def _log(record: RequestRecord, message: Message, seconds: float) -> None:
    well = record.status in _NOT_WORTH_A_WARNING
    (_LOG.info if well else _LOG.warning)(
        f"{_name(record.service)} {'done' if well else 'failed'}.",
        status=f"{record.status:04X}",
        comment=record.comment,
        message_id=message.command.message_id,
        calling_ae_title=message.association.request.calling_ae_title,
        seconds=round(seconds, 4),
        **record.facts,
    )
