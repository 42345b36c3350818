"""Whether the watches still tell what happens: what a list shows must have been heard of.

A watch can be dead and its connection alive. So the resources are listed now and then; one that the
watch has not told of, though it had time, means that nothing but a new start helps. One that has
gone unheard is looked at, which forgets it. Of other objects than resources: `hearing`.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operator.api_errors import Refusal, Unreachable
from dimse_ingestion.operator.cluster import Cluster
from dimse_ingestion.operator.kinds import KINDS
from dimse_ingestion.operator.resources import Key, Manifest, Resource
from dimse_ingestion.operator.watch_check import PATIENCE, silence

_LOG = logger(__name__)
_PAUSE = 30.0
_State = tuple[Key, str, int]


class Watchfulness:
    """Compares; `known` is what the watches have told so far, `look` has a resource looked at."""

    def __init__(
        self,
        cluster: Cluster,
        known: Mapping[Key, Resource],
        namespaces: Collection[str],
        look: Callable[[Key], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._known = known
        self._namespaces = namespaces or ("",)
        self._look = look
        self._clock = clock
        self._unheard: dict[_State, float] = {}

    @property
    def trouble(self) -> str:
        """A sentence when a watch is dead; else empty."""
        now = self._clock()
        dead = [state for state, since in self._unheard.items() if now - since > PATIENCE]
        if not dead:
            return ""
        return silence(str(dead[0][0]))

    async def run(self) -> None:
        """Compare every 30 s, until cancelled."""
        while True:
            await asyncio.sleep(_PAUSE)
            try:
                await self.compare()
            except (Unreachable, Refusal) as trouble:
                _LOG.warning("Resources can't be listed.", because=str(trouble))

    async def compare(self) -> None:
        """Compare once. Raises Unreachable, Refusal."""
        before = dict(self._known)
        there = [_state(Resource(body)) for body in await self._listed()]
        keys = {key for key, _, _ in there}
        left = [each for key, each in before.items() if key in self._known]
        gone = [_state(each) for each in left if each.key not in keys]
        for key, _, _ in gone:
            self._look(key)
        unheard = [*gone, *(state for state in there if not self._is_heard(state))]
        now = self._clock()
        self._unheard = {state: self._unheard.get(state, now) for state in unheard}

    async def _listed(self) -> list[Manifest]:
        return [
            body
            for kind in KINDS
            for namespace in self._namespaces
            for body in await self._cluster.listed(kind.api_version, kind.name, namespace)
        ]

    def _is_heard(self, state: _State) -> bool:
        key, uid, generation = state
        known = self._known.get(key)
        if known is None or known.metadata["uid"] != uid:
            return False
        return known.generation >= generation


def _state(resource: Resource) -> _State:
    return resource.key, resource.metadata["uid"], resource.generation
