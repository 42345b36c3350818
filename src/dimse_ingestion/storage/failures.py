"""Errors of an object store, mapped to kinds of failures with a sentence that says what to do.

obstore raises few types and puts the store's answer into the text, so status and code are read
from there. The sentence repeats none of that text: it may have a key or a signature.

Everything that somebody can repair at the store or in its configuration is transient: a policy, a
key or a bucket may be right again within the time of the operation. Only an object that is too
large for the store is a permanent failure. docs/operating.md has the table.
"""

import re
from dataclasses import dataclass

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from dimse_ingestion.failures import AccessDenied, Failure, LimitExceeded, Unavailable

ERRORS = (BaseError, OSError, ValueError)
"""Exceptions of obstore; FileNotFoundError (an OSError) means a missing object or bucket."""

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")

_REFUSALS = {
    "InvalidAccessKeyId": "{bucket} doesn't know the access key: correct AWS_ACCESS_KEY_ID.",
    "XAdminUserNotFound": "{bucket} doesn't know the access key: correct AWS_ACCESS_KEY_ID.",
    "SignatureDoesNotMatch": "{bucket} refuses the secret key: correct AWS_SECRET_ACCESS_KEY.",
    "AuthenticationFailed": "{bucket} refuses the key: correct AZURE_STORAGE_CONNECTION_STRING.",
    "RequestTimeTooSkewed": "{bucket} finds our clock wrong: set the clock of this host.",
}
_FAILURES = {
    "NoSuchBucket": "{bucket} is missing: create it or correct BUCKET_NAME.",
    "ContainerNotFound": "{bucket} is missing: create it or correct AZURE_CONTAINER_NAME.",
    "InvalidBucketName": "{bucket} can't be a bucket's name: correct BUCKET_NAME.",
    "PermanentRedirect": "{bucket} is in another region: correct BUCKET_REGION.",
    "AuthorizationHeaderMalformed": "{bucket} is in another region: correct BUCKET_REGION.",
    "IllegalLocationConstraintException": "{bucket} is in another region: correct BUCKET_REGION.",
    "XMinioStorageFull": "{bucket} is full: free or add space.",
    "QuotaExceeded": "{bucket} is full: raise its quota or free space.",
    "XMinioAdminBucketQuotaExceeded": "{bucket} is full: raise its quota or free space.",
    "InsufficientStorage": "{bucket} is full: free or add space.",
}
_TOO_LARGE = {
    "EntityTooLarge": "{bucket} takes no object of this size: raise the store's limit.",
    "RequestBodyTooLarge": "{bucket} takes no object of this size: raise the store's limit.",
}
_STATUSES = {
    "404": _FAILURES["NoSuchBucket"],
    "301": _FAILURES["PermanentRedirect"],
    "307": _FAILURES["PermanentRedirect"],
    "507": _FAILURES["XMinioStorageFull"],
    "429": "{bucket} limits the rate of requests: they are retried.",
    "503": "{bucket} is overloaded or starting: requests are retried.",
}
_NO_OBJECT = ("", "NoSuchKey", "BlobNotFound")
_NO_LOCATION = "incorrectly configured region"  # obstore's text for a redirect without Location
_TLS = re.compile(r"InvalidCertificate|invalid peer certificate|UnknownIssuer|CorruptMessage")
_TIMED_OUT = re.compile(r"kind: (Timeout|TimedOut)|TimedOut|timed out")
_NOT_REACHED = re.compile(r"kind: (Connect|Request)|error sending request|dns error")


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """The bucket's name and endpoint, which the sentences repeat."""

    bucket: str
    endpoint: str

    def failure(self, error: Exception) -> Failure:
        """Return the failure for an exception of obstore."""
        text = str(error)
        code = _code(text)
        status = match[1] if (match := _STATUS.search(text)) else ""
        if self._is_refusal(error, code, status):
            sentence = _REFUSALS.get(code, "{bucket} denies access: grant it to the access key.")
            return AccessDenied(self._message(sentence), transient=True)
        if code in _TOO_LARGE:
            return LimitExceeded(self._message(_TOO_LARGE[code]))
        return Unavailable(self._message(_sentence(code, status, text)))

    def _is_refusal(self, error: Exception, code: str, status: str) -> bool:
        denied = isinstance(error, PermissionDeniedError | UnauthenticatedError)
        return code not in _FAILURES and (denied or code in _REFUSALS or status in ("401", "403"))

    def _message(self, sentence: str) -> str:
        return sentence.format(bucket=f"Bucket {self.bucket}") + f" ({self.endpoint})"


def is_missing(error: Exception) -> bool:
    """Return whether the object is missing, not the bucket or an access key.

    The answer to a HEAD has no body and so no code: it is taken for a missing object.
    """
    return isinstance(error, FileNotFoundError) and _code(str(error)) in _NO_OBJECT


def is_beyond_end(error: Exception) -> bool:
    """Return whether the requested range begins beyond the object's end."""
    return "status code: 416" in str(error)


def _code(text: str) -> str:
    return match[1] if (match := _CODE.search(text)) else ""


def _sentence(code: str, status: str, text: str) -> str:
    if known := _FAILURES.get(code) or _STATUSES.get(status):
        return known
    if status:
        return "{bucket} fails (" + (code or f"HTTP {status}") + "): see the store's log."
    if _NO_LOCATION in text:
        return _FAILURES["PermanentRedirect"]
    if _TLS.search(text):
        return "{bucket}: its certificate is not trusted: set BUCKET_CA to the CA's PEM."
    if _TIMED_OUT.search(text):
        return "{bucket} gave no answer in time: check the store and the network."
    if _NOT_REACHED.search(text):
        return "{bucket} is not reached: start it or correct BUCKET_HOST and BUCKET_PORT."
    return "{bucket} fails: see the store's log."
