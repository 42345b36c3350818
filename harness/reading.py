"""Viewers outside the cluster: they read by DICOMweb, once, or without a pause while it changes.

The counterpart of harness.load, which sends. Nothing is tried a second time here: a connection
that ends under a request counts as a failure.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import cycle
from threading import Event
from typing import Any

import httpx2
from dicomweb_client.api import DICOMwebClient

from harness.services import eventually

NODE_PORT = 30810
_PATIENCE = 30.0

BY_DEFAULT: Mapping[str, Any] = {
    # what the default reserves is for a node of its own; tests have one for everything
    "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "1536Mi"}},
}
"""The chart's defaults of `dicomweb`, except its resource requests."""

THROUGH_A_NODE_PORT: Mapping[str, Any] = {
    **BY_DEFAULT,
    "service": {"type": "NodePort", "nodePort": NODE_PORT},
}
"""The same where it is read from outside; one space of a cluster at a time."""


@dataclass(frozen=True)
class Wanted:
    """One request: a path below the services, and the media type (`Accept`)."""

    path: str
    accept: str


@dataclass(frozen=True)
class Viewer:
    """Reads at `base`, the address of the services (`http://HOST:PORT/dicomweb`)."""

    base: str

    @cached_property
    def client(self) -> DICOMwebClient:
        """A client of dicomweb-client."""
        return DICOMwebClient(self.base)

    def got(self, wanted: Wanted) -> httpx2.Response:
        """Return the answer to a GET with its whole body."""
        with self._connections() as asking:
            return _got(asking, wanted)

    @contextmanager
    def reading(self, wanted: Sequence[Wanted], viewers: int = 4) -> Iterator["Reading"]:
        """Run so many viewers, from their first answers until the block's end.

        Every other one makes a new connection for each request, the others keep theirs.
        """
        whole = {each: self.got(each).raise_for_status().content for each in wanted}
        reading = Reading(whole)
        with ThreadPoolExecutor(viewers) as threads:
            working = [
                threads.submit(reading.viewer, self._connections(kept_alive=bool(n % 2)))
                for n in range(viewers)
            ]
            try:
                reading.goes_on()
                yield reading
            finally:
                reading.ended.set()
        for each in working:
            each.result()

    def _connections(self, *, kept_alive: bool = True) -> httpx2.Client:
        limits = httpx2.Limits(max_keepalive_connections=1 if kept_alive else 0)
        return httpx2.Client(base_url=self.base, timeout=_PATIENCE, limits=limits, trust_env=False)


@dataclass
class Reading:
    """The result so far; `whole` is what each answer must be."""

    whole: Mapping[Wanted, bytes]
    answered: list[Wanted] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    ended: Event = field(default_factory=Event)

    def goes_on(self, more: int = 40, seconds: float = 60) -> None:
        """Wait for so many further answers."""
        enough = len(self.answered) + more
        eventually(lambda: len(self.answered), lambda count: count >= enough, seconds)

    def viewer(self, connections: httpx2.Client) -> None:
        """Read until it is ended."""
        with connections as asking:
            for wanted in cycle(self.whole):
                if self.ended.is_set():
                    return
                self._read(asking, wanted)

    def _read(self, asking: httpx2.Client, wanted: Wanted) -> None:
        try:
            answer = _got(asking, wanted)
        except httpx2.TransportError as broken:
            self.failed.append(f"{wanted.path}: {type(broken).__name__} {broken}")
            return
        if answer.status_code != 200 or answer.content != self.whole[wanted]:
            self.failed.append(f"{wanted.path}: {answer.status_code} {answer.text[:200]}")
        self.answered.append(wanted)


def _got(asking: httpx2.Client, wanted: Wanted) -> httpx2.Response:
    return asking.get(wanted.path, headers={"accept": wanted.accept})
