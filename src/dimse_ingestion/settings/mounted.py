"""ConfigMaps and Secrets as Kubernetes mounts them: a folder with a file for each key.

They are read when needed, not at start: a missing one makes a service not ready with a sentence,
and the service recovers when it appears. An optional volume whose object is missing is an empty
folder. The keys are the original project's. A message calls an object by its name in Kubernetes
if a setting has it, else by its path.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit


class MountedMissing(Exception):
    """A ConfigMap, a Secret or one of its keys is missing or unusable; it may appear later."""


@dataclass(frozen=True, slots=True)
class S3Bucket:
    """An S3 bucket; `endpoint` is empty for AWS itself."""

    name: str
    region: str
    endpoint: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    certificate_authority: str = field(default="", repr=False)
    """PEM certificates to trust beside the system's; empty for none."""


@dataclass(frozen=True, slots=True)
class AzureBucket:
    """A container in Azure Blob Storage."""

    name: str
    connection_string: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class FolderBucket:
    """A local folder, for one machine."""

    path: Path


_CREDENTIAL_KEYS = ("token", "nats.creds", "seed", "user")

BucketLocation = S3Bucket | AzureBucket | FolderBucket


def read_bucket(
    config_path: Path, secret_path: Path, *, config_name: str = "", secret_name: str = ""
) -> BucketLocation:
    """Return the bucket that the mounted ConfigMap and Secret describe.

    Raises MountedMissing with a sentence that names what is missing.
    """
    config = _Mount("bucket ConfigMap", config_path, config_name)
    if folder := config.get("LOCAL_STORAGE_PATH"):
        return FolderBucket(Path(folder))
    secret = _Mount("bucket Secret", secret_path, secret_name)
    if "AZURE_STORAGE_CONNECTION_STRING" in secret:
        return AzureBucket(
            name=config.get("AZURE_CONTAINER_NAME") or config["BUCKET_NAME"],
            connection_string=secret["AZURE_STORAGE_CONNECTION_STRING"],
        )
    return S3Bucket(
        name=config["BUCKET_NAME"],
        region=config.get("BUCKET_REGION") or "us-east-1",
        endpoint=_endpoint(config),
        access_key_id=secret["AWS_ACCESS_KEY_ID"],
        secret_access_key=secret["AWS_SECRET_ACCESS_KEY"],
        certificate_authority=config.get("BUCKET_CA"),
    )


def read_credential(token_or_path: str, name: str = "") -> Mapping[str, str]:
    """Return the NATS credential: a Secret's keys, one named `token`, or none if nothing is set.

    An absolute path is read: a folder as a mounted Secret, a file as the credential itself.
    Raises MountedMissing when it does not exist, or has none of the keys that are read.
    """
    if not token_or_path:
        return {}
    if not token_or_path.startswith("/"):
        return {"token": token_or_path}
    path = Path(token_or_path)
    if path.is_dir():
        secret = _Mount("NATS credential Secret", path, name)
        if not any(secret.get(key) for key in _CREDENTIAL_KEYS):
            raise secret.missing("nats.creds (or token, or user and password)")
        return dict(secret.keys)
    check_mounted("NATS credential Secret", path, name)
    return {"token": _text(path, f"Missing credential {path}: mount it, or correct the path.")}


def read_tokens(token_or_path: str, kind: str, name: str = "") -> tuple[str, ...]:
    """Return the current bearer token, then the previous one if the Secret still has it.

    An absolute path is read: a folder as a mounted Secret with the keys `token` and, while a token
    is replaced, `previous-token`; a file as the token itself. Raises MountedMissing.
    """
    if not token_or_path.startswith("/"):
        return (token_or_path,) if token_or_path else ()
    path = Path(token_or_path)
    if path.is_dir():
        secret = _Mount(kind, path, name)
        previous = secret.get("previous-token")
        return (secret["token"], previous) if previous else (secret["token"],)
    check_mounted(kind, path, name)
    if token := _text(path, f"Missing token {path}: mount it, or correct the path."):
        return (token,)
    raise MountedMissing(f"{path} is empty: put the token into it.")


def read_database_url(url_or_path: str, name: str = "") -> str:
    """Return a database's URL, given or mounted: a file, or a Secret's `DATABASE_URL`.

    Raises MountedMissing when the file does not exist.
    """
    if not url_or_path.startswith("/"):
        return url_or_path
    path = Path(url_or_path)
    if path.is_dir():
        secret = _Mount("database Secret", path, name)
        return secret.get("url") or secret["DATABASE_URL"]
    check_mounted("database Secret", path, name)
    if url := _text(path, f"Missing database URL {path}: mount it, or correct the path."):
        return url
    raise MountedMissing(f"{path} is empty: put the database's URL into it.")


def check_mounted(kind: str, file: Path, name: str) -> None:
    """Raise MountedMissing when a key's `file` of the Secret or ConfigMap `name` doesn't exist.

    Without a name nothing is raised: the reader of the file reports it by its path.
    """
    if not name or file.exists():
        return
    raise _Mount(kind, file.parent, name).missing(file.name)


def _endpoint(config: "_Mount") -> str:
    """Return one URL of BUCKET_HOST, with or without scheme, and BUCKET_PORT; http unless 443."""
    host, port = config.get("BUCKET_HOST"), config.get("BUCKET_PORT")
    if not host:
        return ""
    if "://" not in host:
        secure = config.get("BUCKET_SECURE") or str(port in ("", "443")).lower()
        host = f"{'https' if secure.lower() in ('true', '1', 'yes') else 'http'}://{host}"
    return f"{host}:{port}" if port and not urlsplit(host).port else host


class _Mount:
    """The keys of one mounted ConfigMap or Secret, with blanks around values removed."""

    def __init__(self, kind: str, path: Path, name: str) -> None:
        self._name = f"{kind} {name or path}"
        # Kubernetes keeps the versions it swaps in folders whose names begin with two dots
        entries = path.iterdir() if path.is_dir() else ()
        files = [each for each in entries if each.is_file() and each.name[0] != "."]
        if not files:
            cure = "create it" if name else "create it, or correct its path"
            raise MountedMissing(f"Missing {self._name}: {cure}.")
        self.keys = {each.name: _text(each, f"{self._name} is being changed.") for each in files}

    def __getitem__(self, key: str) -> str:
        if value := self.keys.get(key):
            return value
        raise self.missing(key)

    def __contains__(self, key: str) -> bool:
        return key in self.keys

    def get(self, key: str) -> str:
        """Return the value, or an empty string."""
        return self.keys.get(key, "")

    def missing(self, key: str) -> MountedMissing:
        """Return the error about a missing key."""
        return MountedMissing(f"Missing key {key} in {self._name}: add it.")


def _text(path: Path, sentence: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise MountedMissing(f"{sentence} ({error.strerror})") from error
    except UnicodeDecodeError:
        raise MountedMissing(f"{path} is not text.") from None
