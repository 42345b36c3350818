"""One look at one resource: its spec, what it names, its release; then what is told of it.

Each look begins from the spec and the cluster, and from nothing that an earlier look remembers, so
that it doesn't matter which change woke it, or whether the operator was killed in the midst of one.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operator.api_errors import Refusal, Unreachable
from dimse_ingestion.operator.cluster import Cluster
from dimse_ingestion.operator.references import Reference, references
from dimse_ingestion.operator.release import Releases
from dimse_ingestion.operator.render import READ_AT_START
from dimse_ingestion.operator.render_sandbox import ConfinedRenderer, RenderingBroke
from dimse_ingestion.operator.resources import Key, Manifest, Resource
from dimse_ingestion.operator.status import Seen, secondary_resources, status_of
from dimse_ingestion.operator.values import SpecMistake, values_of
from dimse_ingestion.operator.watch_check import Hearing

_LOG = logger(__name__)
Tell = Callable[[Resource, str, str, str], None]
"""Posts an Event: about what, its type (Normal, Warning), reason and message."""


@dataclass(frozen=True)
class _Named:
    """What the spec names: sentences for what isn't there, a digest of what is read once."""

    missing: tuple[str, ...]
    read_at_start: str


class Reconciler:
    """Looks at resources; `known` are those that are there, as they were last seen."""

    def __init__(
        self,
        cluster: Cluster,
        renderer: ConfinedRenderer,
        defaults: Mapping[str, Any],
        tell: Tell,
        hearing: Hearing,
    ) -> None:
        self.known: dict[Key, Resource] = {}
        self.hearing = hearing
        self._cluster = cluster
        self._renderer = renderer
        self._releases = Releases(cluster)
        self._defaults = defaults
        self._tell = tell
        self._names: dict[Key, frozenset[tuple[str, str, str]]] = {}
        self._phases: dict[Key, str] = {}

    def forget(self, key: Key) -> None:
        """A resource is gone."""
        self._names.pop(key, None)
        self._count(key, None)
        if resource := self.known.pop(key, None):
            self._releases.forget(resource.metadata["uid"])

    def naming(self, kind: str, namespace: str, name: str) -> list[Key]:
        """The resources that name such an object."""
        return [key for key, names in self._names.items() if (kind, namespace, name) in names]

    async def look(self, key: Key) -> bool:
        """Put one resource's release right and tell how it is; whether there is nothing to retry.

        Raises Unreachable when the API server doesn't answer.
        """
        resource = self.known.get(key)
        if resource is None or resource.goes:
            return True
        try:
            if not await self._is_there(resource):
                return True
            with metrics.operator_reconcile_seconds.time():
                seen = await self._told(resource)
        except Exception as error:
            outcome = "unreachable" if isinstance(error, Unreachable) else "broken"
            metrics.operator_reconciliations.labels(key.kind, outcome).inc()
            raise
        outcome = "refused" if seen.mistakes else "failed" if seen.troubles else "done"
        metrics.operator_reconciliations.labels(key.kind, outcome).inc()
        return not seen.troubles

    async def _is_there(self, resource: Resource) -> bool:
        """Whether it still is; one that has gone unheard is forgotten, so that nothing is made."""
        key = resource.key
        try:
            there = await self._cluster.found(
                resource.body["apiVersion"], key.kind, key.namespace, key.name
            )
        except Refusal:
            return True  # what is wrong is found, and told, by what follows
        if there is not None and there["metadata"]["uid"] == resource.metadata["uid"]:
            return True
        if self.known.get(key) is resource:
            self.forget(key)
        return False

    async def _told(self, resource: Resource) -> Seen:
        """See, and tell what was seen, whatever it was."""
        try:
            seen = await self._seen(resource)
        except Unreachable:
            raise
        except Exception as error:  # noqa: BLE001 - else nobody would be told of this resource
            _LOG.exception("A look at a resource broke off.", resource=str(resource.key))
            seen = Seen(troubles=[_broken(error)])
        await self._tell_status(resource, seen)
        return seen

    async def _seen(self, resource: Resource) -> Seen:
        key, since = resource.key, self.hearing.now()
        try:
            values = values_of(resource.kind, key.name, resource.spec, self._defaults)
            objects = await self._renderer.objects(resource, values)
        except SpecMistake as mistake:
            return Seen(mistakes=mistake.sentences)
        except RenderingBroke as broke:
            return Seen(
                troubles=[f"The rendering of the chart broke off, and is repeated: {broke}"]
            )
        named = await self._named(key, references(objects, values, key.namespace))
        if named.read_at_start:
            objects = [_reading(each, named.read_at_start) for each in objects]
        await self._announce(resource, objects)
        applied = await self._releases.apply(resource, objects)
        for each in applied.objects:
            self.hearing.found(each, since)
        deployments = [each for each in applied.objects if each["kind"] == "Deployment"]
        return Seen((), applied.troubles, named.missing, deployments, objects)

    async def _named(self, key: Key, named: list[Reference]) -> _Named:
        self._names[key] = frozenset((each.kind, each.namespace, each.name) for each in named)
        missing, digest = [], hashlib.sha256()
        for each in named:
            there = await self._looked_up(each)
            if there is None:
                missing.append(each.missing)
            elif each.read_at_start:
                digest.update(repr(sorted((there.get("data") or {}).items())).encode())
        once = any(each.read_at_start for each in named)
        return _Named(tuple(missing), digest.hexdigest()[:16] if once else "")

    async def _looked_up(self, named: Reference) -> Manifest | None:
        """What is named; what the operator may not see is taken as there."""
        since = self.hearing.now()
        try:
            there = await self._cluster.found("v1", named.kind, named.namespace, named.name)
        except Refusal:
            return {}
        if there is None:
            self.hearing.missed(named.kind, named.namespace, named.name)
        else:
            self.hearing.found(there, since)
        return there

    async def _announce(self, resource: Resource, objects: list[Manifest]) -> None:
        """Before the first objects are made, tell which: someone may be waiting for a sign."""
        if resource.status:
            return
        announced = {
            "phase": "Progressing",
            "message": "The release is being made.",
            "ready": False,
            "observedGeneration": resource.generation,
            "secondaryResources": secondary_resources(objects),
        }
        await self._cluster.told(resource.body["apiVersion"], resource.key, announced)

    async def _tell_status(self, resource: Resource, seen: Seen) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        before, status = resource.status, status_of(resource, seen, now)
        self._count(resource.key, status["phase"])
        if all(before.get(name) == content for name, content in status.items()):
            return
        removed = dict.fromkeys(before.get("secondaryResources") or {})
        patch = status | {"secondaryResources": removed | status["secondaryResources"]}
        await self._cluster.told(resource.body["apiVersion"], resource.key, patch)
        self._remember(resource, status)
        if before.get("message") != status["message"]:
            self._tell_of(resource, status)

    def _count(self, key: Key, phase: str | None) -> None:
        if before := self._phases.pop(key, None):
            metrics.operator_resources.labels(key.kind, before).dec()
        if phase:
            self._phases[key] = phase
            metrics.operator_resources.labels(key.kind, phase).inc()

    def _remember(self, resource: Resource, status: dict[str, Any]) -> None:
        """Until the watch brings what was just written, unless it has brought something newer."""
        if self.known.get(resource.key) is resource:
            self.known[resource.key] = Resource({**resource.body, "status": status})

    def _tell_of(self, resource: Resource, status: dict[str, Any]) -> None:
        told = {each["type"]: each for each in status["conditions"]}["Ready"]
        _LOG.info(
            "A resource's phase is told.",
            resource=str(resource.key),
            phase=status["phase"],
            because=status["message"],
        )
        kind = "Normal" if status["phase"] in ("Ready", "Progressing") else "Warning"
        self._tell(resource, kind, told["reason"], status["message"])


def _broken(error: Exception) -> str:
    """What is said of what nobody has thought of."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"This release can't be made ({said}): look at the spec's extraObjects, if it has some; "
        "else the operator's log says where to report it."
    )


def _reading(manifest: Manifest, digest: str) -> Manifest:
    """A Deployment whose pods start anew when what they read at their start has changed."""
    if manifest["kind"] != "Deployment":
        return manifest
    template = manifest["spec"]["template"]
    annotations = (template["metadata"].get("annotations") or {}) | {READ_AT_START: digest}
    metadata = template["metadata"] | {"annotations": annotations}
    return manifest | {"spec": manifest["spec"] | {"template": template | {"metadata": metadata}}}
