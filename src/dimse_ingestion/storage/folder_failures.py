"""Errors of the file system, mapped to kinds of failures with a sentence that says what to do.

Transient are those that somebody can repair while the operation waits (see `failures`): a file
system that is read-only, full or not mounted. Only a file too large for it is a permanent failure.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dimse_ingestion.failures import AccessDenied, Failure, LimitExceeded, Unavailable

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def folder_failure(root: Path, key: str | None = None) -> Iterator[None]:
    """Raise OSErrors within as a Failure; a missing file as KeyError if `key` is given."""
    try:
        yield
    except OSError as error:
        absent = isinstance(error, FileNotFoundError | NotADirectoryError)
        if key is not None and absent and root.is_dir():
            raise KeyError(key) from None
        raise _failure(root, error) from error


def _failure(root: Path, error: OSError) -> Failure:
    if error.errno in _FULL:
        return Unavailable(f"Bucket folder is full: free space below {root}.")
    if error.errno in _DENIED:
        return AccessDenied(
            f"Bucket folder denies access: let this user write to {root} ({error.strerror}).",
            transient=True,
        )
    if error.errno == errno.EFBIG:
        return LimitExceeded(
            f"Bucket folder {root} takes no file of this size: raise its file system's limit.",
        )
    if not root.is_dir():
        return Unavailable(f"Bucket folder is missing: create or mount {root}.")
    return Unavailable(f"Bucket folder {root} fails: {error.strerror or error}.")
