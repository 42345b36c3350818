"""Warnings about environment variables that look like settings and are none.

A mistyped name would otherwise be silently ignored. Variables of all services are known, because
services often share an environment; what Kubernetes sets for a Service is left alone.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from dimse_ingestion.settings.catalogue import CatalogueSettings
from dimse_ingestion.settings.dicomweb import DicomwebSettings
from dimse_ingestion.settings.ingestion import IngestionSettings
from dimse_ingestion.settings.operator import OperatorSettings
from dimse_ingestion.settings.proxy import ProxySettings
from dimse_ingestion.settings.service import ServiceSettings

SERVICES: tuple[type[ServiceSettings], ...] = (
    ProxySettings,
    IngestionSettings,
    DicomwebSettings,
    CatalogueSettings,
    OperatorSettings,
)
_OURS = re.compile(r"(DIMSE|DICOMWEB)_.")
_OTHERS = re.compile(r"(PROVIDER|BUCKET|DATABASE|EVENT|QUERY|WADO|K)_?.")
_CLOSE = 0.6
_VERY_CLOSE = 0.85  # for names that other programs may have
_OF_A_KUBERNETES_SERVICE = re.compile(
    r".*_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?)"
)


def known_variables() -> dict[str, str]:
    """Return each variable that a service reads, with its setting's own name."""
    known: dict[str, str] = {}
    for settings in SERVICES:
        names = settings.names()
        known |= {name: name for name in names.values()}
        known |= {other: names[field] for other, field in settings.other_names.items()}
    return known


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that no service reads and that looks like a setting."""
    known = known_variables()
    for name in sorted(environment):
        if name in known or _is_of_a_kubernetes_service(name):
            continue
        close = _closest(name, known)
        if close:
            yield f"{name} is not a setting: did you mean {known[close]}?"
        elif _OURS.match(name):
            yield f"{name} is not a setting: docs/operating.md lists them."


def _closest(name: str, known: Mapping[str, str]) -> str:
    ours = bool(_OURS.match(name))
    if not (ours or _OTHERS.match(name)):
        return ""
    close = get_close_matches(name, known, n=1, cutoff=_CLOSE if ours else _VERY_CLOSE)
    return close[0] if close else ""


def _is_of_a_kubernetes_service(name: str) -> bool:
    return bool(_OF_A_KUBERNETES_SERVICE.fullmatch(name))
