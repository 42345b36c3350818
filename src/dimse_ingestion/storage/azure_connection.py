"""Parser of Azure connection strings, because obstore takes only their parts.

`DefaultEndpointsProtocol=https;AccountName=a;AccountKey=k;EndpointSuffix=core.windows.net`, or with
`BlobEndpoint` and `SharedAccessSignature`, or `UseDevelopmentStorage=true` for the emulator.
"""

from dataclasses import dataclass, field

_DEVELOPMENT = (
    "AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1"
)  # the emulator's published account: no secret
_SUFFIX = "core.windows.net"


@dataclass(frozen=True, slots=True)
class AzureConnection:
    """The parts of a connection string; one of `account_key` and `sas_token` is empty.

    `endpoint` is a URL.
    """

    account_name: str
    endpoint: str
    account_key: str = field(default="", repr=False)
    sas_token: str = field(default="", repr=False)


def parse(connection_string: str) -> AzureConnection:
    """Return the parts of a connection string.

    Raises ValueError with a sentence that names what is missing, and no value.
    """
    parts = _parts(connection_string)
    if parts.get("usedevelopmentstorage", "").lower() == "true":
        parts = _parts(_DEVELOPMENT)
    key, sas = parts.get("accountkey", ""), parts.get("sharedaccesssignature", "")
    if not key and not sas:
        raise ValueError(
            "AZURE_STORAGE_CONNECTION_STRING has neither AccountKey nor SharedAccessSignature."
        )
    endpoint = _endpoint(parts)
    account = parts.get("accountname") or endpoint.partition("://")[2].partition(".")[0]
    return AzureConnection(account, endpoint, account_key=key, sas_token=sas.lstrip("?"))


def _parts(connection_string: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in connection_string.split(";") if part.strip())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _endpoint(parts: dict[str, str]) -> str:
    if endpoint := parts.get("blobendpoint"):
        return endpoint.rstrip("/")
    if not (account := parts.get("accountname")):
        raise ValueError(
            "AZURE_STORAGE_CONNECTION_STRING has neither AccountName nor BlobEndpoint."
        )
    protocol = parts.get("defaultendpointsprotocol") or "https"
    return f"{protocol}://{account}.blob.{parts.get('endpointsuffix') or _SUFFIX}"
