"""The objects of one resource's release: applied, repaired and pruned.

They are rendered by Helm's library and applied on the server's side, not installed by the helm
binary. Helm stores each revision in a Secret, so it needs the right to write Secrets; killed
during an install it leaves a pending revision, which someone has to roll back; edits by hand it
repairs only when the manifest changes. Server-side apply is the one way to install, to continue
after kill -9, to upgrade and to repair; the only state are labels on the objects themselves.
Objects that the values no longer ask for are found by those labels. When a resource is deleted,
Kubernetes' garbage collector deletes its objects, whether the operator runs or not: there are no
finalizers that could block a deletion.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operator.api_errors import Refusal
from dimse_ingestion.operator.cluster import Cluster
from dimse_ingestion.operator.managed_fields import claimed_managed_fields
from dimse_ingestion.operator.render import has_keep_policy, is_generated
from dimse_ingestion.operator.resources import MANAGER, Manifest, Resource, owner_of

_LOG = logger(__name__)
_CONFLICT = 409
_INVALID = 422
_HANDOVERS = 10

KINDS = (
    ("v1", "ServiceAccount"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("networking.k8s.io/v1", "Ingress"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
)
"""All kinds that the chart writes, any of which may be left from earlier values."""


@dataclass
class ApplyResult:
    """The objects of a release as applied, and a sentence for each that could not be."""

    objects: list[Manifest] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Releases:
    """The releases of one cluster's resources."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._last_applied: dict[str, frozenset[tuple[str, str, str]]] = {}

    async def apply(self, resource: Resource, objects: Sequence[Manifest]) -> ApplyResult:
        """Apply `objects` and prune; what can't be applied is reported, and the rest is applied.

        Raises Unreachable.
        """
        uid = resource.metadata["uid"]
        wanted = frozenset(map(_identity, objects))
        unchanged = self._last_applied.get(uid) == wanted
        result = ApplyResult()
        for each in objects:
            try:
                if not unchanged:
                    await self._refuse_foreign(each, resource)
                result.objects.append(await self._apply_object(each))
            except Refusal as refusal:
                result.failures.append(str(refusal))
        if not unchanged:
            result.failures += await self._prune(resource, wanted)
        if not result.failures:
            self._last_applied[uid] = wanted
        return result

    def forget(self, uid: str) -> None:
        """Forget a resource that no longer exists."""
        self._last_applied.pop(uid, None)

    async def _apply_object(self, wanted: Manifest) -> Manifest:
        """Apply one object; one with generated content is only created."""
        if is_generated(wanted):
            return await self._get_live(wanted) or await self._cluster.create(wanted)
        if _leaves_replicas(wanted):
            await self._hand_over_replicas(wanted)
        return await self._apply_and_claim(wanted)

    async def _apply_and_claim(self, wanted: Manifest) -> Manifest:
        """Apply; and where another manager has added fields, apply again without them."""
        try:
            live = await self._cluster.apply(wanted)
        except Refusal as refusal:
            # added fields and those of the manifest may exclude each other
            if refusal.status != _INVALID or not await self._claim_fields(
                await self._get_live(wanted)
            ):
                raise
            return await self._cluster.apply(wanted)
        return await self._cluster.apply(wanted) if await self._claim_fields(live) else live

    async def _claim_fields(self, live: Manifest | None) -> bool:
        """Claim the fields that others wrote into an object's spec; return if there were any."""
        managed = claimed_managed_fields(live) if live else None
        if live is None or managed is None:
            return False
        try:
            await self._cluster.set_managed_fields(live, managed)
        except Refusal as refusal:
            if refusal.status != _CONFLICT:
                raise
            return False  # another write came between, which wakes the next reconciliation
        _LOG.info("An object that was edited by hand is repaired.", object=_identity(live))
        return True

    async def _get_live(self, wanted: Manifest) -> Manifest | None:
        metadata = wanted["metadata"]
        return await self._cluster.get(
            wanted["apiVersion"], wanted["kind"], metadata["namespace"], metadata["name"]
        )

    async def _hand_over_replicas(self, wanted: Manifest) -> None:
        """Give up a Deployment's number of replicas, so that applying leaves it as it is.

        While we own the field, an apply without it would set the number to 1, and an apply with the
        number that was read would overwrite what an autoscaler has set since. 0 is not handed over:
        an autoscaler is inactive there.
        """
        for _ in range(_HANDOVERS):
            live = await self._get_live(wanted)
            if live is None or not live["spec"]["replicas"] or not _owns_replicas(live):
                return
            if await self._cluster.hand_over_replicas(live):
                return
        raise Refusal(f"The replicas of Deployment {wanted['metadata']['name']} change too often.")

    async def _refuse_foreign(self, wanted: Manifest, resource: Resource) -> None:
        """Raise Refusal when an object of that name exists and is not this resource's."""
        live = await self._get_live(wanted)
        if live is None or _belongs_to(live, resource):
            return
        raise Refusal(
            f"{wanted['kind']} {wanted['metadata']['name']} exists and does not belong to this "
            f"resource: {_owner_hint(live)}give the resource another name."
        )

    async def _prune(
        self, resource: Resource, wanted: frozenset[tuple[str, str, str]]
    ) -> list[str]:
        """Delete objects that only earlier values defined; return a sentence for each failure."""
        lists = await asyncio.gather(
            *(self._list_labelled(resource, *kind) for kind in _kinds(wanted))
        )
        failures = []
        for each in (each for labelled in lists for each in labelled):
            if (
                _identity(each) in wanted
                or has_keep_policy(each)
                or not _belongs_to(each, resource)
            ):
                continue
            try:
                await self._cluster.delete(each)
            except Refusal as refusal:
                failures.append(str(refusal))
        return failures

    async def _list_labelled(
        self, resource: Resource, api_version: str, kind: str
    ) -> list[Manifest]:
        key = resource.key
        try:
            return await self._cluster.list_objects(api_version, kind, key.namespace, key.labels)
        except Refusal:
            # a kind that the cluster doesn't serve, or that the operator may not list, has no
            # objects of ours; where it should, applying has reported it
            return []


def _kinds(wanted: Iterable[tuple[str, str, str]]) -> list[tuple[str, str]]:
    return [*dict.fromkeys([*KINDS, *((version, kind) for version, kind, _ in wanted)])]


def _identity(manifest: Manifest) -> tuple[str, str, str]:
    return manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"]


def _leaves_replicas(wanted: Manifest) -> bool:
    """Return whether a Deployment's number of replicas is left to an autoscaler."""
    return wanted["kind"] == "Deployment" and "replicas" not in wanted["spec"]


def _owns_replicas(live: Manifest) -> bool:
    """Return whether our field manager owns, alone or with others, the number of replicas."""
    return any(
        each["manager"] == MANAGER
        and each["operation"] == "Apply"
        and "f:replicas" in each["fieldsV1"].get("f:spec", {})
        for each in live["metadata"].get("managedFields") or []
    )


def _owner_hint(live: Manifest) -> str:
    """Return what to know about a foreign object; one that nobody owns may be deleted."""
    for owner in live["metadata"].get("ownerReferences") or []:
        return f"it belongs to the {owner['kind']} {owner['name']}; "
    return "it keeps another's data; " if has_keep_policy(live) else "delete it, or "


def _belongs_to(live: Manifest, resource: Resource) -> bool:
    """Return whether an object is this resource's, or was of a deleted one with the same name.

    That one may have been deleted without its objects, or left a claim that must remain.
    """
    metadata = live["metadata"]
    controllers = [
        owner["uid"] for owner in metadata.get("ownerReferences") or [] if owner.get("controller")
    ]
    if controllers:
        return bool(controllers == [resource.metadata["uid"]])
    return owner_of(metadata.get("labels") or {}, resource.key.namespace) == resource.key
