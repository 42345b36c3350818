"""Custom resources as the original's users bring them: the example, unchanged, and its like.

All on one `core` in one namespace; the example's name resolves to NATS.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from harness import pod_http, proxy_in_cluster, scu
from harness.cluster import Cluster
from harness.imaging_zone import ImagingZone
from harness.operating import EXAMPLES, AskedSpace, Operator, changed, example, kubectl
from harness.plugin import Workbench
from harness.proxy_in_cluster import SERVICE
from harness.services import eventually
from tests.e2e.keeping import assert_stores, key_of, sop_instance_uid, study
from tests.e2e.retrieving import RETRIEVE, assert_gets, peers, stored_study

CORE, SPACE = example("core.yaml"), example("img-ingest.yaml")
WEB, PROXY = example("img-ingest-web.yaml"), example("ward7.yaml")


@dataclass(frozen=True)
class Asked:
    """A space that was asked for by a resource, and a proxy outside the cluster."""

    space: AskedSpace
    zone: ImagingZone


def another(name: str) -> dict[str, Any]:
    """Return a second, small space on the same `core`, with bucket and credential of its own."""
    return changed(
        SPACE,
        name,
        bucketConfigName=f"{name}-s3",
        bucketSecretName=f"{name}-s3",
        providerName=name,
        natsSubjectRoot=f"DIMSE.{name}",
        natsTokenSecret=f"nats-{name}",
        replicas=1,
    )


@pytest.fixture(scope="module")
def imaging(module_bench: Workbench, operator: Operator) -> Asked:
    """Return the example, applied by kubectl from its file, beside `core`; both Ready."""
    namespace = module_bench.namespace("imaging")
    core = module_bench.resource(CORE, namespace)
    space = module_bench.resource_space(SPACE, namespace).create_objects()
    for file in ("core.yaml", "img-ingest.yaml"):
        kubectl(namespace, "apply", "-f", EXAMPLES / file)
    core.becomes("Ready")
    space.resource.becomes("Ready")
    return Asked(space, module_bench.zone(space).open())


def test_the_example_applies_unchanged_and_keeps_what_is_stored(
    imaging: Asked, tmp_path: Path
) -> None:
    path = assert_stores(imaging.space, imaging.zone.peer, tmp_path)
    (match,) = scu.find(imaging.zone.peer, study(path))
    assert match.PatientID == dcmread(path, stop_before_pixels=True).PatientID


def test_kubectl_shows_at_a_glance_how_it_is(imaging: Asked) -> None:
    namespace = imaging.space.namespace
    heads, row = kubectl(namespace, "get", "dimseingestionservices", "img-ingest").splitlines()
    assert heads.split() == ["NAME", "PHASE", "READY", "AE", "TITLE", "PROVIDER", "AGE"]
    assert row.split()[:-1] == ["img-ingest", "Ready", "true", "DICOM-INGEST", "provider"]
    every = kubectl(namespace, "get", "imaging", "-o", "wide")
    assert every.count("All resources exist and are ready.") >= 2
    output = kubectl(namespace, "describe", "dimseis", "img-ingest")
    assert "PodsReady" in output
    assert "img-ingest-ingestion" in output


def test_what_is_missing_is_reported_until_it_exists(
    imaging: Asked, bench: Workbench, tmp_path: Path
) -> None:
    space = bench.resource_space(another("late"), imaging.space.namespace).create_objects()
    space.namespace.delete("Secret", space.bucket_object)
    space.resource.apply()
    sentence = f"Missing bucket Secret {space.bucket_object}"
    assert space.resource.becomes("Pending", sentence)["ready"] is False
    eventually(space.resource.events, lambda seen: any(sentence in each for each in seen))
    assert sentence in kubectl(space.namespace, "describe", "dimseis", space.name)
    space.create_bucket_key_secret()
    space.resource.becomes("Ready")
    assert_stores(space, bench.zone(space).open().peer, tmp_path)


def test_two_spaces_on_one_core_find_each_its_own(
    imaging: Asked, bench: Workbench, tmp_path: Path
) -> None:
    space = bench.resource_space(another("cardiology"), imaging.space.namespace).install()
    cardiology = Asked(space, bench.zone(space).open())
    for one, other in ((imaging, cardiology), (cardiology, imaging)):
        path = assert_stores(one.space, one.zone.peer, tmp_path)
        assert len(scu.find(one.zone.peer, study(path))) == 1
        assert scu.find(other.zone.peer, study(path)) == []
        assert key_of(path) not in other.space.instances()
        assert sop_instance_uid(path) not in other.space.catalogued_uids()


async def test_dicomweb_and_a_proxy_in_the_cluster_are_resources_too(
    imaging: Asked, bench: Workbench, tmp_path: Path, cluster: Cluster
) -> None:
    space, namespace = imaging.space, imaging.space.namespace
    credentials = space.platform.nats.proxy_credentials(space.subject_root, "ward7")
    namespace.put_secret("nats-ward7", {"nats.creds": credentials})
    namespace.put_secret("images-tls", {"tls.crt": "nobody reads it", "tls.key": "here"})
    fields = {
        "tlsSecret": None,
        "peers": peers(("192.0.2.1", 104)),
        "retrieve": dict(RETRIEVE),
        "values": {"proxy": {"service": dict(SERVICE)}},
    }
    proxy = bench.resource(changed(PROXY, "ward7", **fields), namespace)
    web = bench.resource(changed(WEB, WEB["metadata"]["name"], replicas=1), namespace)
    for each in (proxy.apply(), web.apply()):
        each.becomes("Ready")  # a proxy is once an echo went all the way
    uid = sop_instance_uid(assert_stores(space, imaging.zone.peer, tmp_path))
    (pod,) = web.release.pod_names("dicomweb")
    path = f"/dicomweb/instances?SOPInstanceUID={uid}"
    answer = pod_http.get(namespace, pod, path, port=8081)
    assert answer.status == 200, answer
    (match,) = json.loads(answer.text)
    assert match["00080018"]["Value"] == [uid]
    ward = proxy_in_cluster.peer(cluster)
    await assert_gets(ward, stored_study(ward, tmp_path / "study"), tmp_path / "out")
