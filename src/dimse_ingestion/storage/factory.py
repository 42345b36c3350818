"""Factory of buckets: open the bucket that a configuration describes.

Opening sends no request: a store that does not work shows at the first call, as a failure with a
sentence. The configuration is read in `settings`, and read again in `rotating`.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.store import AzureStore, S3Store

from dimse_ingestion.failures import Unavailable
from dimse_ingestion.settings import AzureBucket, BucketLocation, FolderBucket, S3Bucket
from dimse_ingestion.storage import azure_connection, folder
from dimse_ingestion.storage.failures import ERRORS, BucketAddress
from dimse_ingestion.storage.object_store import ObjectStoreBucket

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, RetryConfig, S3Config

    from dimse_ingestion.storage.contract import Bucket

_CONNECT_TIMEOUT = timedelta(seconds=5)
_RETRIES = 2


def open_bucket(location: BucketLocation, *, timeout: float = 20.0) -> "Bucket":
    """Return the bucket at `location`; one request to it may take `timeout` seconds.

    Raises Unavailable with a sentence when the configuration is invalid.
    """
    try:
        return _open_store(location, timedelta(seconds=timeout))
    except ERRORS as error:
        wrong = str(error) if isinstance(location, AzureBucket) else "correct its ConfigMap"
        raise Unavailable(f"The bucket can't be opened: {wrong}.") from error


def _open_store(location: BucketLocation, timeout: timedelta) -> "Bucket":
    if isinstance(location, FolderBucket):
        return folder.FolderBucket(location.path)
    if isinstance(location, AzureBucket):
        return _azure(location, timeout)
    return _s3(location, timeout)


def _s3(location: S3Bucket, timeout: timedelta) -> ObjectStoreBucket:
    options = _client_options(location.endpoint, timeout)
    if location.certificate_authority:
        options["root_certificate"] = location.certificate_authority
    config: S3Config = {
        "region": location.region,
        "access_key_id": location.access_key_id,
        "secret_access_key": location.secret_access_key,
        "checksum_algorithm": "sha256",
    }
    if location.endpoint:
        config["endpoint"] = location.endpoint
    retries = _retries(timeout)
    store = S3Store(location.name, config=config, client_options=options, retry_config=retries)
    place = location.endpoint or f"S3 in {location.region}"
    return ObjectStoreBucket(location.name, store, BucketAddress(location.name, place))


def _azure(location: AzureBucket, timeout: timedelta) -> ObjectStoreBucket:
    connection = azure_connection.parse(location.connection_string)
    config: AzureConfig = {
        "account_name": connection.account_name,
        "endpoint": connection.endpoint,
    }
    if connection.account_key:
        config["account_key"] = connection.account_key
    else:
        config["sas_key"] = connection.sas_token
    options, retries = _client_options(connection.endpoint, timeout), _retries(timeout)
    store = AzureStore(location.name, config=config, client_options=options, retry_config=retries)
    return ObjectStoreBucket(
        location.name, store, BucketAddress(location.name, connection.endpoint)
    )


def _client_options(endpoint: str, timeout: timedelta) -> "ClientConfig":
    return {
        "allow_http": endpoint.startswith("http://"),
        "timeout": timeout,
        "connect_timeout": min(_CONNECT_TIMEOUT, timeout),
    }


def _retries(timeout: timedelta) -> "RetryConfig":
    """Return few and early retries: the transport retries the whole operation by its deadline."""
    return {
        "max_retries": _RETRIES,
        "retry_timeout": timeout,
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=1),
            "base": 2,
        },
    }
