"""The four custom resources: the component each one runs, and its fields' places in the values.

The fields have the names of the original project. Pods are described by the chart alone. The CRDs
are in the operator's chart; a test compares them with this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Path = tuple[str, ...]

GROUP = "imaging-ingestion.alvearie.org"
VERSION = "v1alpha1"
OPEN_FIELD = "values"
"""The field for all other values of the chart."""


@dataclass(frozen=True)
class Kind:
    """One custom resource; `fields` maps its fields to their place in the values."""

    name: str
    plural: str
    component: str
    fields: Mapping[str, Path]

    @property
    def api_version(self) -> str:
        """The `apiVersion` of a manifest."""
        return f"{GROUP}/{VERSION}"


def _same_path(*names: str) -> dict[str, Path]:
    """Return fields that have the same name in the chart's values."""
    return {name: (name,) for name in names}


_IMAGE = _same_path("image", "imagePullPolicy", "imagePullSecrets")
_SPACE = _same_path(
    "bucketConfigName",
    "bucketSecretName",
    "dicomEventDrivenIngestionName",
    "providerName",
    "catalogueSecure",
    "catalogueSecret",
    "eventSink",
    "eventSinkTokenSecret",
    "eventSinkCaSecret",
    "queryEndpoint",
    "wadoInternalEndpoint",
    "wadoExternalEndpoint",
)
_NATS = _same_path(
    "natsUrl",
    "natsSubjectRoot",
    "natsSecure",
    "natsCaSecret",
    "natsClientCertificateSecret",
    "natsAuthMode",
    "natsTlsHandshakeFirst",
)
_AUDIT: dict[str, Path] = {
    "auditRepository": ("audit", "repository"),
    "auditSiteId": ("audit", "siteId"),
    "auditCaSecret": ("audit", "caSecret"),
    "auditClientCertificateSecret": ("audit", "clientCertificateSecret"),
}
_AE_TITLE = _same_path("applicationEntityTitle")

DIMSE_INGESTION_SERVICE = Kind(
    "DimseIngestionService",
    "dimseingestionservices",
    "ingestion",
    _IMAGE | _SPACE | _AE_TITLE | _NATS | _same_path("natsTokenSecret", "replicas"),
)
DICOMWEB_INGESTION_SERVICE = Kind(
    "DicomwebIngestionService",
    "dicomwebingestionservices",
    "dicomweb",
    _IMAGE | _SPACE | _AUDIT | {"replicas": ("dicomweb", "replicas")},
)
DICOM_EVENT_DRIVEN_INGESTION = Kind(
    "DicomEventDrivenIngestion",
    "dicomeventdriveningestions",
    "catalogue",
    _IMAGE
    | _same_path("catalogueSecure", "catalogueSecret")
    | {
        "databaseSecretName": ("catalogue", "database", "secretName"),
        "replicas": ("catalogue", "replicas"),
    },
)
DIMSE_PROXY = Kind(
    "DimseProxy",
    "dimseproxies",
    "proxy",
    _IMAGE
    | _AE_TITLE
    | _NATS
    | _AUDIT
    | {
        "natsTokenSecret": ("proxy", "natsTokenSecret"),
        "proxyId": ("proxy", "proxyId"),
        "tlsSecret": ("proxy", "tlsSecret"),
        "tlsClientCaSecret": ("proxy", "tlsClientCaSecret"),
        "peers": ("proxy", "peers"),
        "retrieve": ("proxy", "retrieve"),
        "peerCaSecret": ("proxy", "peerCaSecret"),
    },
)

KINDS = (
    DIMSE_INGESTION_SERVICE,
    DICOMWEB_INGESTION_SERVICE,
    DICOM_EVENT_DRIVEN_INGESTION,
    DIMSE_PROXY,
)
