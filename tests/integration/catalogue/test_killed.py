"""Every 2xx is there after the catalogue was killed in the middle of it."""

import asyncio
from pathlib import Path

import httpx2

from dimse_ingestion.catalogue.database import open_engine
from dimse_ingestion.events.cloudevents import CONTENT_TYPE, encoded
from harness.doors import Door, free_port
from tests.asking import ask
from tests.instances import event, query, read

POSTERS = 8
BEFORE_THE_KILL = 100


async def post_until_it_breaks(
    client: httpx2.AsyncClient, poster: int, accepted: set[str], enough: asyncio.Event
) -> None:
    for number in range(10_000):
        uid = f"3.{poster}.{number}"
        body = encoded(event(f"o{uid}", instance=uid, study=f"1.{number % 5}", PatientID="1"))
        try:
            answer = await client.post(
                "/events", content=body, headers={"content-type": CONTENT_TYPE}
            )
        except httpx2.TransportError:
            return
        assert answer.status_code == 202, answer.text
        accepted.add(uid)
        if len(accepted) >= BEFORE_THE_KILL:
            enough.set()


async def load_and_kill(door: Door) -> set[str]:
    accepted: set[str] = set()
    enough = asyncio.Event()
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{door.http_port}") as client:
        posting = [
            asyncio.create_task(post_until_it_breaks(client, poster, accepted, enough))
            for poster in range(POSTERS)
        ]
        async with asyncio.timeout(60):
            await enough.wait()
            await asyncio.to_thread(door.kill)
            await asyncio.gather(*posting)
    return accepted


def test_every_accepted_event_outlives_a_kill(database_url: str, tmp_path: Path) -> None:
    port = free_port()
    environment = {
        "DATABASE_URL": database_url,
        "DIMSE_HTTP_HOST": "127.0.0.1",
        "DIMSE_HTTP_PORT": str(port),
    }
    door = Door(["catalogue"], environment, tmp_path / "log", port)
    try:
        accepted = asyncio.run(load_and_kill(door.start().ready()))
        assert len(accepted) >= BEFORE_THE_KILL
        door.start().ready()
        door.stop()
    finally:
        door.kill()
    engine = open_engine(database_url)
    found = {read(each, "SOPInstanceUID") for each in ask(engine, query("IMAGE"))}
    engine.dispose()
    assert accepted - found == set()
    assert len(found) <= len(accepted) + POSTERS
