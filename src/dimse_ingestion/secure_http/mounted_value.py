"""Value of a mounted file that is read again while it is in use, so that a Secret can be rotated.

Kubernetes changes mounted files in place. While a file can't be read, its last value stays in use;
a file that never could be read is an error that says what is missing.
"""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.settings import MountedMissing

_LOG = logger(__name__)
_MAX_AGE = 5.0  # seconds
T = TypeVar("T")


class MountedValue(Generic[T]):
    """The result of `read`, at most some seconds old; `read` raises MountedMissing."""

    def __init__(self, read: Callable[[], T], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._values: list[T] = []  # none or one: None may be a value
        self._read_at = float("-inf")
        self._missing = ""

    def value(self, max_age: float | None = None) -> T:
        """Return the value, read again if it is older than `max_age` seconds.

        Raises MountedMissing while it was never read.
        """
        now = self._clock()
        if not self._values or now - self._read_at > (_MAX_AGE if max_age is None else max_age):
            self._read_at = now
            self._read_again()
        return self._values[0]

    def _read_again(self) -> None:
        try:
            self._values = [self._read()]
            self._missing = ""
        except MountedMissing as missing:
            if not self._values:
                raise
            if str(missing) != self._missing:
                self._missing = str(missing)
                _LOG.warning(
                    "A Secret can't be read: its last value stays in use.", reason=self._missing
                )
