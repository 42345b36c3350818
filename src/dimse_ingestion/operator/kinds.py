"""The four custom resources: what each runs, and which value of the chart each field of it is.

The fields are the original's, by its names. A pod is described in the chart alone; here stands only
where a field goes. The CRDs are the operator's chart's; a test holds them to this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Path = tuple[str, ...]

GROUP = "imaging-ingestion.alvearie.org"
VERSION = "v1alpha1"
OPEN_FIELD = "values"
"""The field that takes whatever else the chart can be told."""


@dataclass(frozen=True)
class Kind:
    """One custom resource; `fields` maps those of its spec to their place in the chart's values."""

    name: str
    plural: str
    component: str
    fields: Mapping[str, Path]

    @property
    def api_version(self) -> str:
        """As a manifest has it."""
        return f"{GROUP}/{VERSION}"


def _alike(*names: str) -> dict[str, Path]:
    """Fields that are the chart's values word for word."""
    return {name: (name,) for name in names}


_IMAGE = _alike("image", "imagePullPolicy", "imagePullSecrets")
_SPACE = _alike(
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
_NATS = _alike(
    "natsUrl",
    "natsSubjectRoot",
    "natsSecure",
    "natsCaSecret",
    "natsClientCertificateSecret",
    "natsAuthMode",
    "natsTlsHandshakeFirst",
)
_AE_TITLE = _alike("applicationEntityTitle")

DIMSE_INGESTION_SERVICE = Kind(
    "DimseIngestionService",
    "dimseingestionservices",
    "ingestion",
    _IMAGE | _SPACE | _AE_TITLE | _NATS | _alike("natsTokenSecret", "replicas"),
)
DICOMWEB_INGESTION_SERVICE = Kind(
    "DicomwebIngestionService",
    "dicomwebingestionservices",
    "dicomweb",
    _IMAGE | _SPACE | {"replicas": ("dicomweb", "replicas")},
)
DICOM_EVENT_DRIVEN_INGESTION = Kind(
    "DicomEventDrivenIngestion",
    "dicomeventdriveningestions",
    "catalogue",
    _IMAGE
    | _alike("catalogueSecure", "catalogueSecret")
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
    | {
        "natsTokenSecret": ("proxy", "natsTokenSecret"),
        "proxyId": ("proxy", "proxyId"),
        "tlsSecret": ("proxy", "tlsSecret"),
        "tlsClientCaSecret": ("proxy", "tlsClientCaSecret"),
    },
)

KINDS = (
    DIMSE_INGESTION_SERVICE,
    DICOMWEB_INGESTION_SERVICE,
    DICOM_EVENT_DRIVEN_INGESTION,
    DIMSE_PROXY,
)
