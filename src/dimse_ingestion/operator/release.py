"""The objects of one resource's release, made, put right and taken away.

They are rendered by Helm's library and applied on the server's side, not installed by the helm
binary. Helm keeps what it did in a Secret per revision, so that it needs to write Secrets; killed
in mid-install it leaves one that is pending, which someone has to roll back; what was edited by
hand it sees only when the manifest changes. Applying again, instead, is the one way to install, to
go on after kill -9, to upgrade and to repair; nothing is kept but labels on the objects themselves.
What the values no longer ask for is found by those labels. What belongs to a resource is deleted by
Kubernetes' garbage collector when that goes, the operator being there or not: no finalizer holds
anything up.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operator.api_errors import Refusal
from dimse_ingestion.operator.cluster import Cluster
from dimse_ingestion.operator.managed_fields import taken_over
from dimse_ingestion.operator.render import is_generated, kept
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
"""What the chart writes, as it may all be left from before."""


@dataclass
class Applied:
    """What became of a release's objects."""

    objects: list[Manifest] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


class Releases:
    """The releases of one cluster's resources."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._ours: dict[str, frozenset[tuple[str, str, str]]] = {}

    async def apply(self, resource: Resource, objects: Sequence[Manifest]) -> Applied:
        """Make what there is what `objects` say; what can't be made is told, and the rest is.

        Raises Unreachable.
        """
        uid = resource.metadata["uid"]
        wanted = frozenset(map(_identity, objects))
        looked_at = self._ours.get(uid) == wanted
        applied = Applied()
        for each in objects:
            try:
                if not looked_at:
                    await self._refuse_what_is_anothers(each, resource)
                applied.objects.append(await self._put(each))
            except Refusal as refusal:
                applied.troubles.append(str(refusal))
        if not looked_at:
            applied.troubles += await self._pruned(resource, wanted)
        if not applied.troubles:
            self._ours[uid] = wanted
        return applied

    def forget(self, uid: str) -> None:
        """Of a resource that is gone."""
        self._ours.pop(uid, None)

    async def _put(self, wanted: Manifest) -> Manifest:
        """Make one object what it is to be; what was generated once stays as it is."""
        if is_generated(wanted):
            return await self._there(wanted) or await self._cluster.created(wanted)
        if _leaves_replicas(wanted):
            await self._hand_over_replicas(wanted)
        return await self._put_right(wanted)

    async def _put_right(self, wanted: Manifest) -> Manifest:
        """Apply; and where somebody has added something, apply again without it."""
        try:
            there = await self._cluster.applied(wanted)
        except Refusal as refusal:
            # what was added and what is wanted may not go together
            if refusal.status != _INVALID or not await self._taken_over(await self._there(wanted)):
                raise
            return await self._cluster.applied(wanted)
        return await self._cluster.applied(wanted) if await self._taken_over(there) else there

    async def _taken_over(self, there: Manifest | None) -> bool:
        """Make ours what others wrote into an object's spec; whether there was anything."""
        managed = taken_over(there) if there else None
        if there is None or managed is None:
            return False
        try:
            await self._cluster.owned(there, managed)
        except Refusal as refusal:
            if refusal.status != _CONFLICT:
                raise
            return False  # somebody has just written again, which wakes the next look
        _LOG.info("What was edited by hand is put right.", object=_identity(there))
        return True

    async def _there(self, wanted: Manifest) -> Manifest | None:
        metadata = wanted["metadata"]
        return await self._cluster.found(
            wanted["apiVersion"], wanted["kind"], metadata["namespace"], metadata["name"]
        )

    async def _hand_over_replicas(self, wanted: Manifest) -> None:
        """Give up a Deployment's number of replicas, so that applying leaves it as it is.

        While the field is ours, to leave it out would make the number 1; to say the number that was
        read would overwrite what an autoscaler has said since. None (0) is no number to keep: an
        autoscaler does nothing there.
        """
        for _ in range(_HANDOVERS):
            there = await self._there(wanted)
            if there is None or not there["spec"]["replicas"] or not _owns_replicas(there):
                return
            if await self._cluster.hand_over_replicas(there):
                return
        raise Refusal(f"The replicas of Deployment {wanted['metadata']['name']} change too often.")

    async def _refuse_what_is_anothers(self, wanted: Manifest, resource: Resource) -> None:
        """An object of that name which is not this resource's is not taken over."""
        there = await self._there(wanted)
        if there is None or _is_of(there, resource):
            return
        raise Refusal(
            f"{wanted['kind']} {wanted['metadata']['name']} is there and not of this resource: "
            f"{_whose(there)}give the resource another name."
        )

    async def _pruned(
        self, resource: Resource, wanted: frozenset[tuple[str, str, str]]
    ) -> list[str]:
        """Delete what earlier values asked for; gives the sentences of what could not be."""
        looks = await asyncio.gather(*(self._left(resource, *kind) for kind in _kinds(wanted)))
        troubles = []
        for each in (each for left in looks for each in left):
            if _identity(each) in wanted or kept(each) or not _is_of(each, resource):
                continue
            try:
                await self._cluster.deleted(each)
            except Refusal as refusal:
                troubles.append(str(refusal))
        return troubles

    async def _left(self, resource: Resource, api_version: str, kind: str) -> list[Manifest]:
        key = resource.key
        try:
            return await self._cluster.listed(api_version, kind, key.namespace, key.labels)
        except Refusal:
            # a kind that the cluster doesn't know, or that the operator may not see, has nothing
            # of ours; where it should, applying has told
            return []


def _kinds(wanted: Iterable[tuple[str, str, str]]) -> list[tuple[str, str]]:
    return [*dict.fromkeys([*KINDS, *((version, kind) for version, kind, _ in wanted)])]


def _identity(manifest: Manifest) -> tuple[str, str, str]:
    return manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"]


def _leaves_replicas(wanted: Manifest) -> bool:
    """Whether a manifest is of a Deployment whose number of replicas is an autoscaler's."""
    return wanted["kind"] == "Deployment" and "replicas" not in wanted["spec"]


def _owns_replicas(there: Manifest) -> bool:
    """Whether our field manager alone, or among others, owns a Deployment's number of replicas."""
    return any(
        each["manager"] == MANAGER
        and each["operation"] == "Apply"
        and "f:replicas" in each["fieldsV1"].get("f:spec", {})
        for each in there["metadata"].get("managedFields") or []
    )


def _whose(there: Manifest) -> str:
    """Whose an object is, which therefore stays; what is nobody's may be deleted."""
    for owner in there["metadata"].get("ownerReferences") or []:
        return f"it belongs to the {owner['kind']} {owner['name']}; "
    return "it keeps another's data; " if kept(there) else "delete it, or "


def _is_of(there: Manifest, resource: Resource) -> bool:
    """Whether an object is this resource's, or was of one by its name that is gone.

    That one may have been deleted without its objects, or left a claim that was to be kept.
    """
    metadata = there["metadata"]
    controllers = [
        owner["uid"] for owner in metadata.get("ownerReferences") or [] if owner.get("controller")
    ]
    if controllers:
        return bool(controllers == [resource.metadata["uid"]])
    return owner_of(metadata.get("labels") or {}, resource.key.namespace) == resource.key
