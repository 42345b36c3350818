"""Admission of associations: AE titles, networks, the number of associations, drain and spool.

A wrong title or network is rejected as permanent; a temporary condition is rejected as transient,
so that the modality tries again. Presentation contexts are decided in `dicom.contexts`.
"""

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from dimse_ingestion.dicom.contexts import NON_PATIENT, context_policy
from dimse_ingestion.dicom.uids import FIND_CLASSES
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.proxy.retrieve.negotiation import (
    RETRIEVE_CLASSES,
    acceptance,
    served_classes,
)
from dimse_ingestion.settings import ProxySettings
from dimse_ingestion.upper_layer.services import (
    Acceptance,
    AssociationRequest,
    Rejection,
    RejectReason,
    RejectResult,
)
from dimse_ingestion.workers.counts import Count, LocalCount

_LOG = logger(__name__)

_DATE_TIME = 1
_RELATIONAL = 0  # byte of the application information of a query class (PS3.4 C.5.1.1)


class Admission:
    """Decide on associations and count the open ones; `count` is that of all processes."""

    def __init__(
        self,
        settings: ProxySettings,
        spool_problem: Callable[[], str],
        count: Count | None = None,
    ) -> None:
        self._settings = settings
        self.configure()
        self._spool_problem = spool_problem
        self._open: set[str] = set()
        self._count = count or LocalCount()
        metrics.proxy_associations.labels(settings.ae_title).set(0)
        self.draining = False
        """True if every new association is rejected, because the proxy is shutting down."""

    def configure(self) -> None:
        """Use the settings' classes and transfer syntaxes, which may have changed."""
        settings = self._settings
        self._choose = context_policy(
            settings.image_sop_classes,
            settings.transfer_syntaxes,
            served_classes(settings),
            commitment=settings.storage_commitment_enabled,
        )

    @property
    def open_associations(self) -> int:
        """The number of associations that this process accepted and that have not ended."""
        return len(self._open)

    def decide(self, request: AssociationRequest) -> Acceptance | Rejection:
        """Accept an association, or return the rejection."""
        space = self._settings.ae_title
        self._count.add(1)  # before the check: other processes may do the same at this moment
        if rejection := self._transient_rejection() or self._permanent_rejection(request):
            self._count.add(-1)
            return reject(request, rejection, space)
        self._open.add(request.association_id)
        metrics.proxy_associations.labels(space).set(len(self._open))
        metrics.proxy_association_requests.labels("accepted", space).inc()
        _LOG.info("Association accepted.", **_log_fields(request), contexts=len(request.proposed))
        if classes := sorted({name for name, _ in request.proposed.values()} & NON_PATIENT):
            _LOG.info(
                "Presentation contexts of objects that belong to no patient are rejected.",
                association_id=request.association_id,
                sop_classes=classes,
            )
        return acceptance(self._settings, request, self._choose, _extended_answers(request))

    def association_ended(self, request: AssociationRequest, outcome: str) -> None:
        """Stop counting an association that has ended."""
        if request.association_id in self._open:
            self._open.remove(request.association_id)
            self._count.add(-1)
            metrics.proxy_associations.labels(self._settings.ae_title).set(len(self._open))
            _LOG.info("Association ended.", association_id=request.association_id, outcome=outcome)

    def _transient_rejection(self) -> Rejection | None:
        if self.draining:
            return _transient(RejectReason.TEMPORARY_CONGESTION, "The proxy is shutting down.")
        if (others := self._count.total - 1) >= self._settings.maximum_associations:
            most = f"{others} associations are open (DIMSE_MAXIMUM_ASSOCIATIONS)."
            return _transient(RejectReason.LOCAL_LIMIT_EXCEEDED, most)
        if problem := self._spool_problem():
            return _transient(RejectReason.TEMPORARY_CONGESTION, problem)
        return None

    def _permanent_rejection(self, request: AssociationRequest) -> Rejection | None:
        settings = self._settings
        if settings.called_ae_title_must_match and request.called_ae_title != settings.ae_title:
            return _permanent(
                RejectReason.CALLED_AE_TITLE_NOT_RECOGNIZED,
                f"This AE is {settings.ae_title}: correct the title at the modality or DIMSE_AE.",
            )
        allowed = settings.calling_ae_titles
        if allowed and request.calling_ae_title not in allowed:
            return _permanent(
                RejectReason.CALLING_AE_TITLE_NOT_RECOGNIZED,
                "The calling AE title is not in DIMSE_CALLING_AE_TITLES.",
            )
        if not self._from_known_network(request.peer_address):
            return _permanent(
                RejectReason.CALLING_AE_TITLE_NOT_RECOGNIZED,
                "The peer's address is in none of DIMSE_SOURCE_NETWORKS.",
            )
        return None

    def _from_known_network(self, peer_address: str) -> bool:
        networks = self._settings.source_networks
        if not networks:
            return True
        address = _address(peer_address)
        return address is not None and any(address in network for network in networks)


def reject(request: AssociationRequest, rejection: Rejection, space: str = "") -> Rejection:
    """Count and log a rejection, and return it; `space` is empty if none has the called title."""
    metrics.proxy_association_requests.labels(rejection.reason.name.lower(), space).inc()
    _LOG.warning("Association rejected.", **_log_fields(request), reason=rejection.explanation)
    return rejection


def unknown_called_ae_title(titles: Iterable[str]) -> Rejection:
    """Return the rejection of a called AE title that no storage space has."""
    return _permanent(
        RejectReason.CALLED_AE_TITLE_NOT_RECOGNIZED,
        f"The spaces of this proxy are {', '.join(titles)}: correct the title at the modality or "
        "spaces.",
    )


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the peer's address, an IPv4-mapped IPv6 address as IPv4; None if it is invalid."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if isinstance(mapped, IPv4Address) else address


def _extended_answers(request: AssociationRequest) -> Mapping[str, bytes]:
    """Grant relational queries and combined date-time matching if requested, and nothing else.

    Of a retrieve class only the first byte is granted (PS3.4 C.5.2.1 and C.5.3.1).
    """
    return {
        sop_class_uid: _granted(information, is_query=sop_class_uid in FIND_CLASSES)
        for sop_class_uid, information in request.extended.items()
        if sop_class_uid in FIND_CLASSES | RETRIEVE_CLASSES
    }


def _granted(information: bytes, *, is_query: bool) -> bytes:
    combined = is_query and is_date_time_combined(information)
    granted = bytes([is_relational(information), combined])[: len(information)]
    return granted + bytes(len(information) - len(granted))


def is_date_time_combined(application_information: bytes) -> bool:
    """Return whether combined date-time matching is requested (PS3.4 C.5.1.1, byte 2)."""
    return application_information[_DATE_TIME : _DATE_TIME + 1] == b"\x01"


def is_relational(application_information: bytes) -> bool:
    """Return whether relational queries are requested (PS3.4 C.5.1.1, byte 1)."""
    return application_information[_RELATIONAL : _RELATIONAL + 1] == b"\x01"


def _log_fields(request: AssociationRequest) -> dict[str, str]:
    return {
        "association_id": request.association_id,
        "calling_ae_title": request.calling_ae_title,
        "called_ae_title": request.called_ae_title,
        "peer_address": request.peer_address,
        "implementation": request.implementation_version_name,
    }


def _transient(reason: RejectReason, explanation: str) -> Rejection:
    return Rejection(RejectResult.TRANSIENT, reason, explanation)


def _permanent(reason: RejectReason, explanation: str) -> Rejection:
    return Rejection(RejectResult.PERMANENT, reason, explanation)
