"""Many retrieves at the same time, as of a viewer that opens small studies; and a bucket on S3."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from pydicom import dcmread

from harness import modalities
from harness.instances import data_set_in, made_instances
from harness.nats_server import nats_server
from harness.ports import free_port
from harness.s3_server import KINDS, s3_server, why_not
from tests.integration.whole.conftest import System, started
from tests.integration.whole.test_moving import Destination, received
from tests.integration.whole.test_retrieving import getscu, workstation

pytestmark = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())

STUDIES, IMAGES = 20, 4
SMALL, LONG = 64 * 1024, 6 * 2**20


@dataclass(frozen=True)
class Study:
    """A study that is stored, and the digest of each instance's data set."""

    uid: str
    digests: dict[str, str]


def rights(port: int) -> dict[str, str]:
    peers = [
        {"aeTitle": "OTHER", "host": "127.0.0.1", "port": port},
        {"aeTitle": "WS1", "may": ["move", "get"]},
    ]
    return {"DIMSE_RETRIEVE_ENABLED": "true", "DIMSE_PEERS": json.dumps(peers)}


async def stored(system: System, folder: Path, *lengths: int) -> Study:
    """Store a study with an image of each length."""
    made = [made_instances(folder / str(n), 1, length)[0] for n, length in enumerate(lengths)]
    digests = {}
    for each in made:
        image = dcmread(each.path)
        image.StudyInstanceUID = made[0].study_instance_uid
        image.save_as(each.path)
        content = data_set_in(each.path.read_bytes())
        digests[each.sop_instance_uid] = sha256(content).hexdigest()
    ended = await modalities.storescu(system.peer, folder, options=["+sd", "+r"])
    assert ended.status == 0, ended.output
    return Study(made[0].study_instance_uid, digests)


async def got(system: System, folder: Path, study: Study) -> dict[str, str]:
    """Retrieve a study by DCMTK's getscu; return the digests of the received data sets."""
    ended = await getscu(workstation(system), folder, "--bit-preserving", study=study.uid)
    assert ended.status == 0, ended.output
    return {uid: sha256(content).hexdigest() for uid, content in received(folder).items()}


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("many")
    with nats_server(folder / "nats") as nats:
        system = started(folder / "space", nats, 1, **rights(port))
        yield system
        system.space.close()


@pytest.fixture(scope="module")
def studies(system: System, tmp_path_factory: pytest.TempPathFactory) -> list[Study]:
    folder = tmp_path_factory.mktemp("studies")
    lengths = [[SMALL] * IMAGES] * (STUDIES - 2) + [[LONG] * 2] * 2

    async def store_all() -> list[Study]:
        return [
            await stored(system, folder / str(number), *each) for number, each in enumerate(lengths)
        ]

    return asyncio.run(store_all())


async def test_many_studies_are_got_at_once(
    system: System, studies: list[Study], tmp_path: Path
) -> None:
    digests = await asyncio.gather(
        *(got(system, tmp_path / str(number), each) for number, each in enumerate(studies))
    )
    assert digests == [each.digests for each in studies]


async def test_many_studies_are_moved_to_one_destination_at_once(
    system: System, studies: list[Study], port: int
) -> None:
    keys = ["-k", "0008,0052=STUDY", "-aem", "OTHER"]

    async def moved(study: Study) -> modalities.Ended:
        arguments = workstation(system).arguments("-S", *keys, "-k", f"0020,000d={study.uid}")
        return await modalities.ran(modalities.program("movescu"), *arguments)

    with Destination(port) as destination:
        ended = await asyncio.gather(*map(moved, studies))
        assert [each.status for each in ended] == [0] * len(studies), ended
        expected = {uid: digest for each in studies for uid, digest in each.digests.items()}
        assert destination.digests() == expected


@pytest.mark.parametrize("kind", KINDS)
async def test_a_study_comes_back_from_an_s3_bucket(kind: str, tmp_path: Path) -> None:
    if absent := why_not(kind):
        pytest.skip(absent)
    with s3_server(kind, tmp_path / "s3") as server, nats_server(tmp_path / "nats") as nats:
        config, secret = tmp_path / "config", tmp_path / "secret"
        address = {"BUCKET_NAME": server.make_bucket("space"), "BUCKET_HOST": server.endpoint}
        keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
        for folder, files in ((config, address), (secret, keys)):
            folder.mkdir()
            for name, value in files.items():
                (folder / name).write_text(value)
        paths = {"BUCKET_CONFIG_PATH": str(config), "BUCKET_SECRET_PATH": str(secret)}
        system = started(tmp_path / "space", nats, 1, **rights(free_port()), **paths)
        try:
            lengths = [*[SMALL] * 10, LONG]
            study = await stored(system, tmp_path / "in", *lengths)
            assert len(server.keys("space")) == len(lengths)
            assert await got(system, tmp_path / "out", study) == study.digests
        finally:
            system.space.close()
