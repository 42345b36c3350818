"""Errors of the file system as DimseFailure, with a sentence that says what to do.

Transient are those that somebody can repair while the operation waits (see `failures`): a file
system that is read-only, full or not mounted. Only a file too large for it is a permanent failure.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dimse_ingestion.dicom.failure import DimseFailure, OutOfResources
from dimse_ingestion.dicom.status import Status

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def folder_failure(root: Path, key: str | None = None) -> Iterator[None]:
    """Raise OSErrors within as DimseFailure; a missing file as KeyError if `key` is given."""
    try:
        yield
    except OSError as error:
        absent = isinstance(error, FileNotFoundError | NotADirectoryError)
        if key is not None and absent and root.is_dir():
            raise KeyError(key) from None
        raise _failure(root, error) from error


def _failure(root: Path, error: OSError) -> DimseFailure:
    if error.errno in _FULL:
        return OutOfResources(f"Bucket folder is full: free space below {root}.")
    if error.errno in _DENIED:
        return DimseFailure(
            Status.NOT_AUTHORIZED,
            f"Bucket folder denies access: let this user write to {root} ({error.strerror}).",
            transient=True,
        )
    if error.errno == errno.EFBIG:
        return DimseFailure(
            Status.OUT_OF_RESOURCES,
            f"Bucket folder {root} takes no file of this size: raise its file system's limit.",
        )
    if not root.is_dir():
        return OutOfResources(f"Bucket folder is missing: create or mount {root}.")
    return OutOfResources(f"Bucket folder {root} fails: {error.strerror or error}.")
