"""What a hospital will meet: in each, every 0000 has its object and its catalogue entry."""

import asyncio
from pathlib import Path

from harness import scu
from harness.instances import MadeInstance, made_instances
from harness.scu import Answer
from harness.services import eventually
from tests.integration.whole.conftest import System

MIB = 2**20


def assert_stored(system: System, made: list[MadeInstance], answers: list[Answer]) -> list[Answer]:
    """Return every success is in bucket and catalogue; the answers that were successes."""
    by_path = {each.path: each for each in made}
    successes = [answer for answer in answers if answer.status == 0]
    objects = system.objects()
    for answer in successes:
        instance = by_path[answer.path]
        stored = objects[instance.sha256]
        assert stored.stat().st_size > instance.size
        assert stored.read_bytes().endswith(instance.path.read_bytes()[-instance.size :])
        assert system.catalogued(instance.sop_instance_uid)
    return successes


def all_well(answers: list[Answer]) -> bool:
    return all(answer.status == 0 for answer in answers)


async def under_way(system: System) -> None:
    """Wait until something is on its way to the bucket."""
    await asyncio.to_thread(
        eventually, lambda: len(list(system.space.bucket.rglob("*"))), lambda seen: seen > 0
    )


async def test_nats_killed_and_restarted_under_load(system: System, tmp_path: Path) -> None:
    made = made_instances(tmp_path / "in", 24, 4 * MIB)
    sending = asyncio.create_task(scu.store_in_thread(system.peer, [m.path for m in made]))
    await under_way(system)
    system.nats.restart()
    answers = await sending
    assert all_well(answers), [a for a in answers if a.status]
    assert len(assert_stored(system, made, answers)) == len(made)


async def test_a_replica_killed_under_load(two_replicas: System, tmp_path: Path) -> None:
    made = made_instances(tmp_path / "in", 24, 4 * MIB)
    sending = asyncio.create_task(scu.store_in_thread(two_replicas.peer, [m.path for m in made]))
    await under_way(two_replicas)
    two_replicas.ingestion[0].kill()
    answers = await sending
    assert all_well(answers), [a for a in answers if a.status]
    assert len(assert_stored(two_replicas, made, answers)) == len(made)


async def test_replicas_rolled_over_under_load(two_replicas: System, tmp_path: Path) -> None:
    made = made_instances(tmp_path / "in", 60, MIB)
    sending = asyncio.create_task(scu.store_in_thread(two_replicas.peer, [m.path for m in made]))
    await under_way(two_replicas)
    for service in two_replicas.ingestion:
        assert await asyncio.to_thread(service.stop) == 0
        await asyncio.to_thread(service.start().ready)
    answers = await sending
    assert all_well(answers), [a for a in answers if a.status]
    assert len(assert_stored(two_replicas, made, answers)) == len(made)


async def test_the_catalogue_down_then_back(system: System, tmp_path: Path) -> None:
    made = made_instances(tmp_path / "in", 4, 64 * 1024)
    system.catalogue.kill()
    sending = asyncio.create_task(scu.store_in_thread(system.peer, [m.path for m in made]))
    await asyncio.to_thread(
        eventually,
        system.ingestion[0].lines,
        lambda lines: any("catalogue" in line or "sink" in line for line in lines[-20:]),
    )
    assert not sending.done()
    system.catalogue.start().ready()
    answers = await sending
    assert all_well(answers), answers
    assert len(assert_stored(system, made, answers)) == len(made)


async def test_a_bucket_that_refuses_ends_in_a700_and_recovers(
    system: System, tmp_path: Path
) -> None:
    made = made_instances(tmp_path / "in", 1, 64 * 1024)
    config = system.space.folder / "config" / "LOCAL_STORAGE_PATH"
    no_folder = tmp_path / "a-file"
    no_folder.write_text("no bucket")
    config.write_text(str(no_folder))
    _, why = await asyncio.to_thread(
        eventually, system.ingestion[0].readiness, lambda seen: seen[0] == 503
    )
    assert "bucket" in why
    (answer,) = await scu.store_in_thread(system.peer, [made[0].path])
    assert answer.status == 0xA700
    assert answer.comment
    config.write_text(str(system.space.bucket))
    await asyncio.to_thread(system.ingestion[0].ready)
    answers = await scu.store_in_thread(system.peer, [made[0].path])
    assert len(assert_stored(system, made, answers)) == 1


async def test_nobody_serves_ends_in_a700_with_a_comment(system: System, tmp_path: Path) -> None:
    made = made_instances(tmp_path / "in", 1, 1024)
    system.ingestion[0].kill()
    (answer,) = await scu.store_in_thread(system.peer, [made[0].path])
    assert answer.status == 0xA700
    assert answer.comment
    assert system.objects() == {}


async def test_the_proxy_killed_under_load_and_started_again(
    system: System, tmp_path: Path
) -> None:
    made = made_instances(tmp_path / "in", 12, 4 * MIB)
    paths = [m.path for m in made]
    sending = asyncio.create_task(scu.store_in_thread(system.peer, paths[:6]))
    await under_way(system)
    system.proxy.kill()
    await asyncio.to_thread(system.proxy.start().ready)
    first = await sending
    again = await scu.store_in_thread(system.peer, paths)
    assert all_well(again)
    assert_stored(system, made, first)
    assert len(assert_stored(system, made, again)) == len(made)


async def test_a_large_object_costs_little_memory(system: System, tmp_path: Path) -> None:
    made = made_instances(tmp_path / "in", 1, 1024 * MIB)
    answers = await scu.store_in_thread(system.peer, [made[0].path])
    assert all_well(answers), answers
    stored = system.objects()[made[0].sha256]
    assert stored.stat().st_size > 1024 * MIB
    assert system.catalogued(made[0].sop_instance_uid)
    assert system.proxy.peak_memory() < 200 * MIB
    assert system.ingestion[0].peak_memory() < 200 * MIB


async def test_sixteen_associations_at_once(system: System, tmp_path: Path) -> None:
    groups = [made_instances(tmp_path / f"in{n}", 6, MIB) for n in range(16)]
    sent = await asyncio.gather(
        *(scu.store_in_thread(system.peer, [m.path for m in group]) for group in groups)
    )
    for group, answers in zip(groups, sent, strict=True):
        assert all_well(answers), answers
        assert len(assert_stored(system, group, answers)) == len(group)
    assert system.proxy.peak_memory() < 300 * MIB


async def test_other_bytes_under_one_uid_are_both_stored(system: System, tmp_path: Path) -> None:
    (first,) = made_instances(tmp_path / "in", 1, 4096)
    other = tmp_path / "other.dcm"
    other.write_bytes(first.path.read_bytes()[:-1] + b"\xff")
    answers = await scu.store_in_thread(system.peer, [first.path, other, first.path])
    assert all_well(answers), answers
    assert len(system.objects()) == 2
