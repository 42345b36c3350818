"""Two storage spaces on one NATS and one catalogue, in two namespaces, unaware of each other."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import nats
import pytest

from harness import scu
from harness.imaging_zone import ImagingZone, NatsAccess, zone
from harness.instances import made_instances
from harness.kubernetes_objects import Namespace
from harness.plugin import Workbench
from harness.provisioning import Space
from harness.release import Release
from harness.services import eventually
from tests.e2e.keeping import assert_stored, key_of, sop_instance_uid, study


@dataclass(frozen=True)
class Department:
    """One of the two spaces and its proxy."""

    space: Space
    zone: ImagingZone


@pytest.fixture(scope="module")
def both(module_bench: Workbench) -> tuple[Department, Department]:
    imaging, elsewhere = module_bench.namespace("imaging"), module_bench.namespace("cardiology")
    core = module_bench.release(Release(imaging, "core"))
    core.install(catalogue_alone(module_bench, elsewhere))
    return (
        department(module_bench, "radiology", imaging, core),
        department(module_bench, "cardiology", elsewhere, core),
    )


def catalogue_alone(bench: Workbench, let_in: Namespace) -> dict[str, object]:
    name = {"kubernetes.io/metadata.name": let_in.name}
    return {
        "image": bench.platform.image,
        "ingestion": {"enabled": False},
        "catalogue": {"persistence": {"size": "1Gi"}},
        "networkPolicy": {"catalogueFrom": [{"namespaceSelector": {"matchLabels": name}}]},
    }


def department(bench: Workbench, name: str, namespace: Namespace, core: Release) -> Department:
    space = bench.space(name, namespace, core, replicas=1).install()
    return Department(space, bench.zone(space).open())


def test_each_keeps_its_own_and_finds_no_other_s(
    both: tuple[Department, Department], tmp_path: Path
) -> None:
    radiology, cardiology = both
    for one, other in ((radiology, cardiology), (cardiology, radiology)):
        (made,) = made_instances(tmp_path / one.space.name, 1, 2**16)
        (answer,) = scu.store(one.zone.peer, [made.path])
        assert answer.status == 0, answer
        assert_stored(one.space, [made.path])
        assert key_of(made.path) not in other.space.instances()
        assert sop_instance_uid(made.path) not in other.space.catalogued_uids()
        assert len(scu.find(one.zone.peer, study(made.path))) == 1
        assert scu.find(other.zone.peer, study(made.path)) == []


def test_a_proxy_with_the_other_s_credential_serves_nobody_and_reports_why(
    both: tuple[Department, Department], tmp_path: Path, bench: Workbench
) -> None:
    radiology, cardiology = (each.space for each in both)
    stranger = bench.ended(
        zone(tmp_path / "stranger", cardiology.access(), radiology.subject_root, "ward7")
    )
    before = radiology.instances()
    stranger.proxy.start()
    _, why = eventually(stranger.proxy.readiness, lambda seen: "NATS denies a subject" in seen[1])
    assert radiology.subject_root in why
    (made,) = made_instances(tmp_path / "in", 1, 2**16)
    (answer,) = scu.store(stranger.peer, [made.path])
    assert answer.status != 0
    assert radiology.instances() == before


@pytest.mark.parametrize("subject", ["v1.svc.store", "v1.svc.fetch", "v1.in.any.any"])
async def test_a_proxy_s_credential_publishes_on_no_other_s_subjects(
    both: tuple[Department, Department], tmp_path: Path, subject: str
) -> None:
    own, other = (each.space for each in both)
    access = own.access("ward7")
    assert await refused(access, tmp_path, publish=f"{own.subject_root}.{subject}") == ""
    why = await refused(access, tmp_path, publish=f"{other.subject_root}.{subject}")
    assert "permissions violation for publish" in why


@pytest.mark.parametrize("subject", ["v1.svc.* svc", "v1.in.>"])
async def test_an_ingestion_service_s_credential_hears_no_other_s_subjects(
    both: tuple[Department, Department], tmp_path: Path, subject: str
) -> None:
    own, other = (each.space for each in both)
    access = NatsAccess(
        own.access().url,
        own.access().ca_pem,
        own.platform.nats.ingestion_credentials(own.subject_root),
    )
    assert await refused(access, tmp_path, hear=f"{own.subject_root}.{subject}") == ""
    why = await refused(access, tmp_path, hear=f"{other.subject_root}.{subject}")
    assert "permissions violation for subscription" in why


async def refused(access: NatsAccess, folder: Path, *, publish: str = "", hear: str = "") -> str:
    """Return the server's error when a client does this; empty when there is none."""
    complaints: list[str] = []

    async def complained(complaint: Exception) -> None:
        complaints.append(str(complaint).lower())

    (folder / "user.creds").write_text(access.credentials)
    client = await nats.connect(
        access.url,
        tls=ssl.create_default_context(cadata=access.ca_pem),
        user_credentials=str(folder / "user.creds"),
        error_cb=complained,
    )
    try:
        if publish:
            await client.publish(publish, b"")
        if hear:
            subject, _, queue = hear.partition(" ")
            await client.subscribe(subject, queue)
        await client.flush()
        await client.flush()  # the first one's PING may overtake what was sent before it
        return " ".join(complaints)
    finally:
        await client.close()
