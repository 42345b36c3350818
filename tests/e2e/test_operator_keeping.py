"""The operator keeps its objects as the resource specifies, through edits and restarts."""

from pathlib import Path
from typing import Any

import pytest

from harness.imaging_zone import ImagingZone
from harness.inventory import inventory
from harness.kubernetes_objects import Namespace
from harness.operating import KINDS, AskedSpace, Operator, Resource, changed, example
from harness.plugin import Workbench
from harness.services import eventually
from tests.e2e.keeping import assert_stores, key_of

SPACE = example("img-ingest.yaml")
MANY = 20
OBJECTS = ("ServiceAccount", "Service", "Deployment", "NetworkPolicy")


def whole(name: str, **more: Any) -> dict[str, Any]:
    """Return a storage space of one pod, with a catalogue of its own."""
    own = {"providerName": name, "natsSubjectRoot": f"DIMSE.{name}", "replicas": 1}
    return changed(SPACE, name, **{"dicomEventDrivenIngestionName": None, **own, **more})


@pytest.fixture(scope="module")
def space(module_bench: Workbench, operator: Operator) -> AskedSpace:
    namespace = module_bench.namespace("kept")
    return module_bench.resource_space(whole("kept"), namespace).install()


@pytest.fixture(scope="module")
def ward(module_bench: Workbench, space: AskedSpace) -> ImagingZone:
    return module_bench.zone(space).open()


def observed_state(space: AskedSpace) -> tuple[Any, ...]:
    """Return the Deployment's fields that a test edits."""
    match = space.namespace.read("Deployment", space.resource.deployment)
    if match is None:
        return ()
    (container,) = match["spec"]["template"]["spec"]["containers"]
    return match["spec"]["replicas"], container["image"]


def uid(namespace: Namespace, deployment: str) -> str:
    match = namespace.read("Deployment", deployment)
    return "" if match is None else str(match["metadata"]["uid"])


def test_what_is_edited_or_deleted_by_hand_is_put_right(
    space: AskedSpace, ward: ImagingZone, tmp_path: Path
) -> None:
    namespace, name, before = space.namespace, space.resource.deployment, observed_state(space)
    edited = {"containers": [{"name": "ingestion", "image": "registry.example.org/other:1"}]}
    patch = {"spec": {"replicas": 3, "template": {"spec": edited}}}
    namespace.patch("Deployment", name, patch)
    eventually(lambda: observed_state(space), lambda seen: seen == before)
    first = uid(namespace, name)
    namespace.delete("Deployment", name)
    eventually(lambda: uid(namespace, name), lambda seen: seen not in ("", first))
    assert observed_state(space) == before
    space.resource.becomes("Ready")
    assert_stores(space, ward.peer, tmp_path)


def test_an_operator_killed_in_mid_install_finishes_it(
    bench: Workbench, operator: Operator
) -> None:
    namespace = bench.namespace("many")
    provided = bench.resource_space(whole("space0"), namespace).create_objects()
    without_pods = {"replicas": 0, "dicomEventDrivenIngestionName": "space0"}
    others = [whole(f"space{number}", **without_pods) for number in range(1, MANY)]
    resources = [provided.resource, *(Resource(namespace, each) for each in others)]
    for each in resources:
        each.apply()
    eventually(lambda: made(namespace), bool)
    operator.kill_pods()
    before = made(namespace)
    assert len(before) < len(OBJECTS) * MANY, "it was killed too late to prove anything"
    for each in resources:
        each.becomes("Ready")
    assert before <= made(namespace)


def made(namespace: Namespace) -> set[str]:
    """Return the objects of the resources, each by its uid: the very same must be there later."""
    every = (each for kind in OBJECTS for each in namespace.list_objects(kind))
    return {
        each["metadata"]["uid"] for each in every if each["metadata"]["name"].startswith("space")
    }


def test_a_deleted_resource_leaves_what_others_made_and_every_image(
    bench: Workbench, operator: Operator, tmp_path: Path
) -> None:
    namespace = bench.namespace("leaving")
    keep = {"catalogue": {"persistence": {"size": "1Gi", "keep": True}}}
    space = bench.resource_space(whole("leaving", values=keep), namespace).create_objects()
    before = inventory(namespace)
    space.resource.apply().becomes("Ready")
    remaining = key_of(assert_stores(space, bench.zone(space).open().peer, tmp_path))
    space.resource.delete()
    left = before | {"PersistentVolumeClaim/leaving-catalogue"}
    eventually(lambda: inventory(namespace), lambda seen: seen == left, 60)
    assert remaining in space.instances()
    secret = space.platform.minio.bucket_secret(space.bucket)
    assert namespace.secret(space.bucket_object) == secret


def test_an_operator_uninstalled_leaves_spaces_at_work_and_watches_them_when_it_is_back(
    space: AskedSpace, ward: ImagingZone, operator: Operator, tmp_path: Path
) -> None:
    definitions, pods = operator.definitions(), space.release.pod_names("ingestion")
    assert len(definitions) == len(KINDS)
    operator.release.uninstall()
    assert left_of(operator) == set()
    assert operator.definitions() == definitions
    assert space.resource.status()["phase"] == "Ready"
    assert space.release.pod_names("ingestion") == pods
    assert_stores(space, ward.peer, tmp_path)
    operator.install()
    assert space.release.pod_names("ingestion") == pods
    space.namespace.delete("Service", space.resource.deployment)
    eventually(lambda: space.namespace.read("Service", space.resource.deployment), bool)


def left_of(operator: Operator) -> set[str]:
    """Return what the chart made and still exists, without definitions."""
    everywhere = [
        f"{kind}/{each['metadata']['name']}"
        for kind in ("ClusterRole", "ClusterRoleBinding")
        for each in operator.namespace.list_objects(kind, operator.release.selector())
    ]
    own = ("Deployment", "Pod", "Service", "ServiceAccount", "NetworkPolicy", "Role", "Secret")
    existing = [
        f"{kind}/{each['metadata']['name']}"
        for kind in own
        for each in operator.namespace.list_objects(kind)
        if each["metadata"]["name"] != "default"
    ]
    return {*everywhere, *existing}
