"""Reconciliation of one custom resource: its spec, its references, its release, its status.

Each reconciliation starts from the spec and the cluster, and from nothing that an earlier one
remembers: it doesn't matter which change caused it, or whether the operator was killed during one.
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
from dimse_ingestion.operator.render_sandbox import RenderingFailed, SandboxedRenderer
from dimse_ingestion.operator.resources import Key, Manifest, Resource
from dimse_ingestion.operator.status import Observation, secondary_resources, status_of
from dimse_ingestion.operator.values import SpecMistake, values_of
from dimse_ingestion.operator.watch_health import ObjectWatchCheck

_LOG = logger(__name__)
PostEvent = Callable[[Resource, str, str, str], None]
"""Posts an Event: the resource, the type (Normal, Warning), the reason and the message."""


@dataclass(frozen=True)
class _References:
    """The state of a spec's references: sentences for missing ones, a digest of those read once."""

    missing: tuple[str, ...]
    read_at_start: str


class Reconciler:
    """Reconciles resources; `known` are the existing ones, as the watches last showed them."""

    def __init__(
        self,
        cluster: Cluster,
        renderer: SandboxedRenderer,
        defaults: Mapping[str, Any],
        post_event: PostEvent,
        object_watch: ObjectWatchCheck,
    ) -> None:
        self.known: dict[Key, Resource] = {}
        self.object_watch = object_watch
        self._cluster = cluster
        self._renderer = renderer
        self._releases = Releases(cluster)
        self._defaults = defaults
        self._post_event = post_event
        self._reference_keys: dict[Key, frozenset[tuple[str, str, str]]] = {}
        self._phases: dict[Key, str] = {}

    def forget(self, key: Key) -> None:
        """Forget a deleted resource."""
        self._reference_keys.pop(key, None)
        self._count_phase(key, None)
        if resource := self.known.pop(key, None):
            self._releases.forget(resource.metadata["uid"])

    def referring_to(self, kind: str, namespace: str, name: str) -> list[Key]:
        """Return the resources that refer to this object."""
        return [
            key for key, names in self._reference_keys.items() if (kind, namespace, name) in names
        ]

    async def reconcile(self, key: Key) -> bool:
        """Apply one resource's release and write its status; return whether no retry is needed.

        Raises Unreachable when the API server doesn't answer.
        """
        resource = self.known.get(key)
        if resource is None or resource.is_deleting:
            return True
        try:
            if not await self._exists(resource):
                return True
            with metrics.operator_reconcile_seconds.time():
                observation = await self._report(resource)
        except Exception as error:
            outcome = "unreachable" if isinstance(error, Unreachable) else "broken"
            metrics.operator_reconciliations.labels(key.kind, outcome).inc()
            raise
        outcome = (
            "refused" if observation.mistakes else "failed" if observation.failures else "done"
        )
        metrics.operator_reconciliations.labels(key.kind, outcome).inc()
        return not observation.failures

    async def _exists(self, resource: Resource) -> bool:
        """Return whether the resource exists; forget one whose deletion the watch has not shown."""
        key = resource.key
        try:
            live = await self._cluster.get(
                resource.body["apiVersion"], key.kind, key.namespace, key.name
            )
        except Refusal:
            return True  # the steps that follow find and report what is wrong
        if live is not None and live["metadata"]["uid"] == resource.metadata["uid"]:
            return True
        if self.known.get(key) is resource:
            self.forget(key)
        return False

    async def _report(self, resource: Resource) -> Observation:
        """Apply the release, and write the status, whatever the result."""
        try:
            observation = await self._observe(resource)
        except Unreachable:
            raise
        except Exception as error:  # noqa: BLE001 - otherwise the resource's status would not say so
            _LOG.exception("A reconciliation failed.", resource=str(resource.key))
            observation = Observation(failures=[_internal_error(error)])
        await self._write_status(resource, observation)
        return observation

    async def _observe(self, resource: Resource) -> Observation:
        key, since = resource.key, self.object_watch.now()
        try:
            values = values_of(resource.kind, key.name, resource.spec, self._defaults)
            objects = await self._renderer.render(resource, values)
        except SpecMistake as mistake:
            return Observation(mistakes=mistake.sentences)
        except RenderingFailed as failure:
            return Observation(
                failures=[f"The chart could not be rendered, and rendering is retried: {failure}"]
            )
        named = await self._read_references(key, references(objects, values, key.namespace))
        if named.read_at_start:
            objects = [_with_restart_annotation(each, named.read_at_start) for each in objects]
        await self._write_first_status(resource, objects)
        applied = await self._releases.apply(resource, objects)
        for each in applied.objects:
            self.object_watch.record_read(each, since)
        deployments = [each for each in applied.objects if each["kind"] == "Deployment"]
        return Observation((), applied.failures, named.missing, deployments, objects)

    async def _read_references(self, key: Key, listed: list[Reference]) -> _References:
        self._reference_keys[key] = frozenset(
            (each.kind, each.namespace, each.name) for each in listed
        )
        missing, digest = [], hashlib.sha256()
        for each in listed:
            live = await self._get_reference(each)
            if live is None:
                missing.append(each.missing)
            elif each.read_at_start:
                digest.update(repr(sorted((live.get("data") or {}).items())).encode())
        any_read_at_start = any(each.read_at_start for each in listed)
        return _References(tuple(missing), digest.hexdigest()[:16] if any_read_at_start else "")

    async def _get_reference(self, reference: Reference) -> Manifest | None:
        """Return the object; one that the operator has no right to read counts as existing."""
        since = self.object_watch.now()
        try:
            live = await self._cluster.get(
                "v1", reference.kind, reference.namespace, reference.name
            )
        except Refusal:
            return {}
        if live is None:
            self.object_watch.record_absence(reference.kind, reference.namespace, reference.name)
        else:
            self.object_watch.record_read(live, since)
        return live

    async def _write_first_status(self, resource: Resource, objects: list[Manifest]) -> None:
        """Write a first status before the objects are applied, for those who wait for one."""
        if resource.status:
            return
        status = {
            "phase": "Progressing",
            "message": "The release is being applied.",
            "ready": False,
            "observedGeneration": resource.generation,
            "secondaryResources": secondary_resources(objects),
        }
        await self._cluster.patch_status(resource.body["apiVersion"], resource.key, status)

    async def _write_status(self, resource: Resource, observation: Observation) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        before, status = resource.status, status_of(resource, observation, now)
        self._count_phase(resource.key, status["phase"])
        if all(before.get(name) == content for name, content in status.items()):
            return
        removed = dict.fromkeys(before.get("secondaryResources") or {})
        patch = status | {"secondaryResources": removed | status["secondaryResources"]}
        await self._cluster.patch_status(resource.body["apiVersion"], resource.key, patch)
        self._cache_status(resource, status)
        if before.get("message") != status["message"]:
            self._report_phase(resource, status)

    def _count_phase(self, key: Key, phase: str | None) -> None:
        if before := self._phases.pop(key, None):
            metrics.operator_resources.labels(key.kind, before).dec()
        if phase:
            self._phases[key] = phase
            metrics.operator_resources.labels(key.kind, phase).inc()

    def _cache_status(self, resource: Resource, status: dict[str, Any]) -> None:
        """Keep a written status until the watch shows it, unless it has shown a newer one."""
        if self.known.get(resource.key) is resource:
            self.known[resource.key] = Resource({**resource.body, "status": status})

    def _report_phase(self, resource: Resource, status: dict[str, Any]) -> None:
        ready = {each["type"]: each for each in status["conditions"]}["Ready"]
        _LOG.info(
            "A resource's phase was written.",
            resource=str(resource.key),
            phase=status["phase"],
            reason=status["message"],
        )
        kind = "Normal" if status["phase"] in ("Ready", "Progressing") else "Warning"
        self._post_event(resource, kind, ready["reason"], status["message"])


def _internal_error(error: Exception) -> str:
    """Return the sentence about an unexpected error."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"This release can't be applied ({text}): check the spec's extraObjects, if it has some; "
        "otherwise report the error with the operator's log."
    )


def _with_restart_annotation(manifest: Manifest, digest: str) -> Manifest:
    """Return a Deployment whose pods restart when the objects they read at start have changed."""
    if manifest["kind"] != "Deployment":
        return manifest
    template = manifest["spec"]["template"]
    annotations = (template["metadata"].get("annotations") or {}) | {READ_AT_START: digest}
    metadata = template["metadata"] | {"annotations": annotations}
    return manifest | {"spec": manifest["spec"] | {"template": template | {"metadata": metadata}}}
