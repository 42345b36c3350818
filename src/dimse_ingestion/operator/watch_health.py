"""Detection of dead watches: what the API server shows must have come as a watch event, too.

A watch can be dead although its connection is alive; then only a restart helps. Two checks:
`ResourceWatchCheck` lists the few custom resources now and then, and compares the list with the
events. `ObjectWatchCheck` costs no request, because listing all Secrets of a cluster would cost too
much: each reconciliation reads the objects that its resource names or owns, and of each version
that it reads, the watch has delivered an event, or does so soon.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operator.api_errors import Refusal, Unreachable
from dimse_ingestion.operator.cluster import Cluster
from dimse_ingestion.operator.kinds import KINDS
from dimse_ingestion.operator.resources import CHART_NAME, NAME_LABEL, Key, Manifest, Resource

_LOG = logger(__name__)
_INTERVAL = 30.0
_ResourceState = tuple[Key, str, int]
_EVENT_TIMEOUT = 120.0
_WATCHED = ("ConfigMap", "Deployment", "Secret", "Service")
_BY_LABEL = ("Deployment", "Service")
_ObjectKey = tuple[str, str, str]


class ObjectWatchCheck:
    """Compares reads with watch events, for Deployments, Services, Secrets and ConfigMaps."""

    def __init__(
        self, namespaces: Collection[str] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.now = clock
        self._namespaces = namespaces
        self._events: dict[_ObjectKey, tuple[str, float]] = {}
        self._missing: dict[_ObjectKey, float] = {}

    @property
    def problem(self) -> str:
        """A sentence when a watch is dead; else empty."""
        now = self.now()
        for (kind, namespace, name), since in self._missing.items():
            if now - since > _EVENT_TIMEOUT:
                return _dead_watch(f"{kind} {namespace}/{name}")
        return ""

    def record_event(self, manifest: Manifest, deleted: bool = False) -> None:
        """Record a watch event about an object."""
        key = _object_key(manifest)
        if key[0] not in _WATCHED:
            return
        self._missing.pop(key, None)
        if deleted:
            self._events.pop(key, None)
        else:
            self._events[key] = (manifest["metadata"]["resourceVersion"], self.now())

    def record_read(self, manifest: Manifest, since: float) -> None:
        """Record the version of an object that a reconciliation, started at `since`, has read."""
        if not self._is_watched(manifest):
            return
        key = _object_key(manifest)
        version, when = self._events.get(key, ("", since))
        if version == manifest["metadata"]["resourceVersion"] or when > since:
            self._missing.pop(key, None)
        else:
            self._missing.setdefault(key, self.now())

    def record_absence(self, kind: str, namespace: str, name: str) -> None:
        """Record that a reconciliation has read that no such object exists."""
        self._events.pop((kind, namespace, name), None)
        self._missing.pop((kind, namespace, name), None)

    def _is_watched(self, manifest: Manifest) -> bool:
        kind, namespace, _ = _object_key(manifest)
        labels = manifest["metadata"].get("labels") or {}
        return (
            kind in _WATCHED
            and (not self._namespaces or namespace in self._namespaces)
            and (kind not in _BY_LABEL or labels.get(NAME_LABEL) == CHART_NAME)
        )


class ResourceWatchCheck:
    """Compares lists with events: `known` is the state by events, `wake` starts a reconciliation.

    A resource that was deleted without an event is reconciled, which forgets it.
    """

    def __init__(
        self,
        cluster: Cluster,
        known: Mapping[Key, Resource],
        namespaces: Collection[str],
        wake: Callable[[Key], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._known = known
        self._namespaces = namespaces or ("",)
        self._wake = wake
        self._clock = clock
        self._missing: dict[_ResourceState, float] = {}

    @property
    def problem(self) -> str:
        """A sentence when a watch is dead; else empty."""
        now = self._clock()
        dead = [state for state, since in self._missing.items() if now - since > _EVENT_TIMEOUT]
        if not dead:
            return ""
        return _dead_watch(str(dead[0][0]))

    async def run(self) -> None:
        """Compare every 30 s, until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                await self.compare()
            except (Unreachable, Refusal) as error:
                _LOG.warning("Resources can't be listed.", reason=str(error))

    async def compare(self) -> None:
        """Compare once. Raises Unreachable, Refusal."""
        known_before = dict(self._known)
        listed_states = [_state(Resource(body)) for body in await self._listed()]
        keys = {key for key, _, _ in listed_states}
        still_known = [each for key, each in known_before.items() if key in self._known]
        missing_states = [_state(each) for each in still_known if each.key not in keys]
        for key, _, _ in missing_states:
            self._wake(key)
        missing = [
            *missing_states,
            *(state for state in listed_states if not self._has_event(state)),
        ]
        now = self._clock()
        self._missing = {state: self._missing.get(state, now) for state in missing}

    async def _listed(self) -> list[Manifest]:
        return [
            body
            for kind in KINDS
            for namespace in self._namespaces
            for body in await self._cluster.list_objects(kind.api_version, kind.name, namespace)
        ]

    def _has_event(self, state: _ResourceState) -> bool:
        key, uid, generation = state
        known = self._known.get(key)
        if known is None or known.metadata["uid"] != uid:
            return False
        return known.generation >= generation


def _state(resource: Resource) -> _ResourceState:
    return resource.key, resource.metadata["uid"], resource.generation


def _dead_watch(of: str) -> str:
    """Return the sentence about a dead watch."""
    return f"The watch sent no event about {of} in {_EVENT_TIMEOUT:.0f} s: it is dead."


def _object_key(manifest: Manifest) -> _ObjectKey:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]
