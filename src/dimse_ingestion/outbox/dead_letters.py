"""Dead letters: data sets that the service refuses, each a file with its reason in another one.

They stay until somebody sends them again or drops them (`dimse-ingestion spool`). The functions
block, raise OSError, and are safe while a process forwards: each changes files by renaming them.
"""

from pathlib import Path

import msgspec

from dimse_ingestion.durable.files import move, new_file, sync_folder, write_whole
from dimse_ingestion.outbox import files
from dimse_ingestion.outbox.folders import Folders
from dimse_ingestion.outbox.records import Metadata

_REASON = ".reason.json"
_DROP = ".drop"


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a data set was refused: a DIMSE status in hexadecimal, and the service's comment."""

    status: str = ""
    comment: str = ""
    refused_at: float = 0.0


def reason_path(path: Path) -> Path:
    """Return the file of a dead letter's reason."""
    return path.with_name(path.name.removesuffix(files.SUFFIX) + _REASON)


def write_reason(folders: Folders, operation_id: str, reason: Reason) -> None:
    """Write the reason of a data set that becomes a dead letter next."""
    with new_file(folders.dead_letters / f"{operation_id}{_REASON}") as descriptor:
        write_whole(descriptor, msgspec.json.encode(reason))


def read_reason(path: Path) -> Reason:
    """Return the reason of a dead letter; an empty one if it is missing or damaged."""
    try:
        return msgspec.json.decode(reason_path(path).read_bytes(), type=Reason)
    except (OSError, ValueError):
        return Reason()


def add(folders: Folders, metadata: Metadata, source: files.Source, reason: Reason) -> Path:
    """Write a dead letter, durably."""
    write_reason(folders, metadata.operation_id, reason)
    return files.write_file(folders.dead_letters, metadata, source)


def add_file(folders: Folders, path: Path, operation_id: str, reason: Reason) -> Path:
    """Make a dead letter of a data set's file."""
    write_reason(folders, operation_id, reason)
    return move(path, folders.dead_letters)


def retry(folders: Folders, path: Path) -> None:
    """Have a dead letter forwarded again: by the running process soon, or at the next start."""
    move(path, folders.retry)
    reason_path(path).unlink(missing_ok=True)


def drop(path: Path) -> None:
    """Delete a dead letter for good."""
    path.unlink(missing_ok=True)
    reason_path(path).unlink(missing_ok=True)
    sync_folder(path.parent)


def request_drop(folders: Folders, operation_id: str) -> None:
    """Have a waiting data set dropped: by the running process soon, or at the next start."""
    with new_file(folders.requests / f"{operation_id}{_DROP}"):
        pass


def requested_drops(folders: Folders) -> dict[str, Path]:
    """Return the requests to drop, by operation id."""
    return {path.name.removesuffix(_DROP): path for path in folders.requests.glob(f"*{_DROP}")}
