"""Errors of the file system as the failures they are for a modality, with what to do about them.

Transient are all that somebody can put right while the operation waits (see `failures`): a file
system that is read-only, full or not mounted. Only a file that is too large for it stays so.
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
            f"Bucket folder is closed to us: let this user write to {root} ({error.strerror}).",
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
