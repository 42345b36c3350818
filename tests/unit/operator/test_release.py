"""Generated values are made once; everything else is as in the last rendering."""

from typing import Any

import pytest

from dimse_ingestion.operator.kinds import GROUP
from dimse_ingestion.operator.release import Releases
from dimse_ingestion.operator.resources import Manifest, Resource
from tests.unit.operator.resources import resource


class Cluster:
    """What Releases asks of a cluster, in memory."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Manifest] = {}
        self.writes: list[str] = []

    async def get(self, _: str, kind: str, __: str, name: str) -> Manifest | None:
        return self.objects.get((kind, name))

    async def create(self, manifest: Manifest) -> Manifest:
        return self._written("created", manifest)

    async def apply(self, manifest: Manifest) -> Manifest:
        return self._written("applied", manifest)

    async def list_objects(self, _: str, kind: str, *__: Any) -> list[Manifest]:
        return [each for (listed, _), each in self.objects.items() if listed == kind]

    async def delete(self, manifest: Manifest) -> None:
        self.writes.append(f"deleted {manifest['kind']}")
        del self.objects[manifest["kind"], manifest["metadata"]["name"]]

    def _written(self, how: str, manifest: Manifest) -> Manifest:
        self.writes.append(f"{how} {manifest['kind']}")
        self.objects[manifest["kind"], manifest["metadata"]["name"]] = manifest
        return manifest


def made(of: Resource, kind: str, **more: Any) -> Manifest:
    metadata = {
        "name": "core-catalogue",
        "namespace": of.key.namespace,
        "labels": of.key.labels,
        "ownerReferences": [of.owner_reference],
        "annotations": {},
    }
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more}


def generated(of: Resource, token: str) -> Manifest:
    secret = made(of, "Secret", type="Opaque", data={"token": token})
    secret["metadata"]["annotations"] = {f"{GROUP}/generated": "once"}
    return secret


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def releases_in(cluster: Cluster) -> Releases:
    return Releases(cluster)  # type: ignore[arg-type] # it has the methods that Releases calls


@pytest.fixture
def releases(cluster: Cluster) -> Releases:
    return releases_in(cluster)


async def test_a_generated_secret_is_made_once(cluster: Cluster, releases: Releases) -> None:
    space = resource()
    for token in ("first", "second", "third"):
        applied = await releases.apply(space, [generated(space, token), made(space, "Service")])
        assert applied.failures == []
        assert [each["kind"] for each in applied.objects] == ["Secret", "Service"]
    assert cluster.objects["Secret", "core-catalogue"]["data"] == {"token": "first"}
    assert cluster.writes == ["created Secret", *["applied Service"] * 3]


async def test_another_start_of_the_operator_leaves_it(cluster: Cluster) -> None:
    space = resource()
    for token in ("first", "second"):
        await releases_in(cluster).apply(space, [generated(space, token)])
    assert cluster.objects["Secret", "core-catalogue"]["data"] == {"token": "first"}


async def test_deleted_it_is_made_again(cluster: Cluster, releases: Releases) -> None:
    space = resource()
    await releases.apply(space, [generated(space, "first")])
    cluster.objects.clear()
    await releases.apply(space, [generated(space, "second")])
    assert cluster.objects["Secret", "core-catalogue"]["data"] == {"token": "second"}


async def test_it_goes_when_values_no_longer_ask_for_it(
    cluster: Cluster, releases: Releases
) -> None:
    space = resource()
    await releases.apply(space, [generated(space, "first"), made(space, "Service")])
    await releases.apply(space, [made(space, "Service")])
    assert ("Secret", "core-catalogue") not in cluster.objects


async def test_a_users_secret_of_that_name_is_left(cluster: Cluster, releases: Releases) -> None:
    space = resource()
    users = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "core-catalogue"}}
    cluster.objects["Secret", "core-catalogue"] = users
    applied = await releases.apply(space, [generated(space, "first")])
    (failure,) = applied.failures
    assert "Secret core-catalogue exists and does not belong to this resource" in failure
    assert cluster.objects["Secret", "core-catalogue"] is users


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("Secret", {"type": "kubernetes.io/service-account-token"}),
        ("Secret", {}),
        ("ConfigMap", {"type": "Opaque"}),
    ],
)
async def test_nothing_else_is_made_by_saying_it_is_generated(
    cluster: Cluster, releases: Releases, kind: str, more: dict[str, Any]
) -> None:
    space = resource()
    manifest = made(space, kind, **more)
    manifest["metadata"]["annotations"] = {f"{GROUP}/generated": "once"}
    await releases.apply(space, [manifest])
    assert cluster.writes == [f"applied {kind}"]
