"""Why sub-operations of one C-MOVE or C-GET were not completed, for its comment and the log.

Reasons are counted, with an instance as example of each: a study has thousands of instances. Only
an object that is missing or damaged is named each time, because an operator restores each. UIDs and
keys are no patient data.
"""

from dataclasses import dataclass

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Failure
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.transport.protocol.messages import RetrieveInstance

_LOG = logger(__name__)


@dataclass(slots=True)
class _Reason:
    example: str
    """SOP Instance UID of the first instance."""
    instances: int = 0


class UnsentInstances:
    """The reasons of one retrieve; `service` is get or move."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._reasons: dict[str, _Reason] = {}

    def add(self, instance: RetrieveInstance, reason: str) -> None:
        """Count an instance that was not completed."""
        counted = self._reasons.setdefault(reason, _Reason(instance.sop_instance_uid))
        counted.instances += 1

    def report_object(self, instance: RetrieveInstance, failure: Failure) -> None:
        """Log which object could not be read, unless the failure is not the object's own.

        An object that is missing, or not the one that was stored, fails with 0110.
        """
        if isinstance(failure, DimseFailure) and failure.status is Status.PROCESSING_FAILURE:
            _LOG.warning(
                "An object can't be sent: restore it in the bucket, or see the log of the ingestion"
                " service.",
                operation=self._service,
                sop_instance_uid=instance.sop_instance_uid,
                key=instance.key,
                reason=failure.comment,
            )

    @property
    def comment(self) -> str:
        """The most frequent reason, empty without any."""
        return self._by_frequency()[0][0] if self._reasons else ""

    def log(self) -> None:
        """Log each reason, the most frequent one first."""
        for reason, counted in self._by_frequency():
            _LOG.warning(
                "Sub-operations were not completed.",
                operation=self._service,
                reason=reason,
                instances=counted.instances,
                example_sop_instance_uid=counted.example,
            )

    def _by_frequency(self) -> list[tuple[str, _Reason]]:
        return sorted(self._reasons.items(), key=lambda each: -each[1].instances)
