"""The commands as a user types them: standalone, demo, check, reindex."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread

from harness import modalities, scu
from harness.instances import made_instances
from harness.modalities import Peer
from harness.services import ServiceProcess
from tests.integration.whole.conftest import System
from tests.integration.whole.standing import command, standing


@contextmanager
def standalone(data: Path) -> Iterator[tuple[subprocess.Popen[str], Peer]]:
    with standing(data) as (process, peer, _):
        yield process, peer


def test_standalone_at_every_address_names_one_that_can_be_reached(tmp_path: Path) -> None:
    (made,) = made_instances(tmp_path / "in", 1, 4096)
    anywhere = r"(?!0\.0\.0\.0)[0-9.]+"
    with standing(tmp_path / "data", "--host", "0.0.0.0", host=anywhere) as (_, peer, http):
        assert [a.status for a in scu.store(peer, [made.path])] == [0]
        assert len(DICOMwebClient(f"{http}/dicomweb").search_for_studies()) == 1


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_standalone_stops_cleanly_and_finds_everything_again(
    tmp_path: Path, stop: signal.Signals
) -> None:
    made = made_instances(tmp_path / "in", 3, 4096)
    with standalone(tmp_path / "data") as (process, peer):
        assert [a.status for a in scu.store(peer, [m.path for m in made])] == [0, 0, 0]
        process.send_signal(stop)
        assert process.wait(60) == 0
    with standalone(tmp_path / "data") as (_, peer):
        assert len(_images(peer, made[0].path)) == 3
        assert [a.status for a in scu.store(peer, [made[0].path])] == [0]
    assert len(list((tmp_path / "data" / "bucket").rglob("*.dcm"))) == 3


def test_what_came_by_dimse_is_retrieved_and_what_came_by_stow_is_found(tmp_path: Path) -> None:
    by_dimse = made_instances(tmp_path / "dimse", 1, 4096)[0].path
    by_stow = made_instances(tmp_path / "stow", 2, 4096)
    with standing(tmp_path / "data") as (_, peer, address):
        assert [a.status for a in scu.store(peer, [by_dimse])] == [0]
        client = DICOMwebClient(f"{address}/dicomweb")
        sent = dcmread(by_dimse)
        uids = sent.StudyInstanceUID, sent.SeriesInstanceUID, sent.SOPInstanceUID
        assert client.retrieve_instance(*uids) == sent
        client.store_instances([dcmread(each.path) for each in by_stow])
        result = {each.SOPInstanceUID for each in _images(peer, by_stow[0].path)}
        assert result == {each.sop_instance_uid for each in by_stow}


def test_what_came_by_dimse_is_found_by_dicomweb(tmp_path: Path) -> None:
    made = made_instances(tmp_path / "in", 2, 4096)
    with standing(tmp_path / "data") as (_, peer, address):
        assert [a.status for a in scu.store(peer, [m.path for m in made])] == [0, 0]
        with urlopen(f"{address}/dicomweb/instances", timeout=30) as answer:
            result = json.load(answer)
    retrieved = {each["00081190"]["Value"][0] for each in result}
    assert len(retrieved) == 2
    assert all(each.startswith(f"{address}/dicomweb/studies/") for each in retrieved)


@pytest.mark.parametrize("name", ["data%41", "hash#?x", "dätä 山", 'it\'s "quoted"'])
def test_standalone_keeps_everything_in_its_folder_whatever_its_name(
    tmp_path: Path, name: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with standalone(home / name) as (_, peer):
        assert scu.echo(peer) == 0
    assert (home / name / "catalogue.db").exists()
    assert {path.name for path in home.iterdir()} == {name, "standalone.log"}


def refused(*arguments: str) -> str:
    ended = subprocess.run(
        command("standalone", "--dimse-port", "0", "--http-port", "0", *arguments),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={name: text for name, text in os.environ.items() if not name.startswith("DIMSE_")},
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_standalone_refuses_what_it_cannot_use_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    assert "it is no folder" in refused("--data", str(tmp_path / "a-file"))
    assert "what it is in is no folder" in refused("--data", str(tmp_path / "a-file" / "within"))
    assert "it is empty" in refused("--data", "")
    assert "--ae-title" in refused("--data", str(tmp_path / "d"), "--ae-title", "X" * 17)
    with standalone(tmp_path / "data"):
        assert "in use by another" in refused("--data", str(tmp_path / "data"))


@pytest.mark.parametrize("option", ["--dimse-port", "--http-port"])
def test_standalone_ends_before_it_starts_a_service_when_a_port_is_in_use(
    tmp_path: Path, option: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as in_use:
        port = in_use.getsockname()[1]
        output = refused("--data", str(tmp_path / "data"), option, str(port))
    assert output == (
        f"--host, {option}: 127.0.0.1:{port} can't be used: it is in use by another process: "
        "stop that, or give another port.\n"
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("host", "message"),
    [("nosuch.invalid", "the name is not known"), ("a b", "is no address to listen on")],
)
@pytest.mark.parametrize("port", ["0", "18080"])
def test_standalone_refuses_a_host_that_is_none(
    tmp_path: Path, host: str, message: str, port: str
) -> None:
    output = refused("--data", str(tmp_path), "--host", host, "--http-port", port)
    assert message in output.splitlines()[-1]


def ended(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        env={"PATH": os.environ["PATH"], "DIMSE_NATS_URL": "127.0.0.1:1"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_brackets_in_a_setting_are_shown_as_they_are() -> None:
    checked = ended("check", "proxy", DIMSE_AE="[/A]", DIMSE_SPOOL_DIR="/x")
    assert checked.returncode == 1
    assert "settings: AE title [/A], port 11112" in checked.stdout
    assert checked.stderr == (
        "warning: DIMSE_SPOOL_DIR is not a setting: did you mean DIMSE_SPOOL_DIRECTORY?\n"
    )


@pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())
def test_check_echoes_each_peer(tmp_path: Path) -> None:
    with modalities.storescp(tmp_path) as peer:
        at = {"host": peer.host, "port": peer.port}
        peers = [
            {"aeTitle": "ARCHIVE"} | at,
            {"aeTitle": "GONE", "host": "127.0.0.1", "port": 1},
            {"aeTitle": "VIEWER", "may": ["get"]},
        ]
        checked = ended("check", "proxy", DIMSE_PEERS=json.dumps(peers))
    assert checked.returncode == 1
    assert f"peer ARCHIVE at 127.0.0.1:{peer.port}: a C-ECHO succeeded" in checked.stdout
    assert "peer GONE at 127.0.0.1:1: GONE at 127.0.0.1:1 is not reached" in checked.stdout
    assert "peer VIEWER: no address, so it is not connected to" in checked.stdout


@pytest.mark.parametrize(
    ("port", "enabled", "is_told"), [(None, "true", True), (1, "true", False), (None, "", False)]
)
def test_check_warns_when_no_move_can_have_a_destination(
    port: int | None, enabled: str, is_told: bool
) -> None:
    peers: list[dict[str, object]] = [{"aeTitle": "MV", "may": ["move"]}]
    if port:
        peers.append({"aeTitle": "ARCHIVE", "host": "127.0.0.1", "port": port})
    rights = {"DIMSE_PEERS": json.dumps(peers), "DIMSE_RETRIEVE_ENABLED": enabled or "false"}
    checked = ended("check", "proxy", **rights)
    assert ("warning C-MOVE for MV: no peer has an address" in checked.stdout) is is_told


def test_check_tells_whether_storage_commitment_can_be_accepted(tmp_path: Path) -> None:
    peers = [{"aeTitle": "CT1", "host": "127.0.0.1", "port": 1, "may": ["commit"]}]
    enabled = {
        "DIMSE_STORAGE_COMMITMENT_ENABLED": "true",
        "DIMSE_STORAGE_COMMITMENT_DIRECTORY": str(tmp_path / "journal"),
    }
    checked = ended("check", "proxy", DIMSE_PEERS=json.dumps(peers), **enabled)
    assert f"journal of storage commitment in {tmp_path}/journal: can be written" in checked.stdout
    assert "storage commitment for CT1" in checked.stdout
    (tmp_path / "file").touch()
    enabled["DIMSE_STORAGE_COMMITMENT_DIRECTORY"] = str(tmp_path / "file" / "journal")
    checked = ended("check", "proxy", **enabled)
    assert "wrong   journal of storage commitment" in checked.stdout
    assert "no peer has the right commit: give may: [commit]." in checked.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("prove", "--to", "nosuch.invalid:104"), 1, "nosuch.invalid is not known"),
        (("prove", "--to", "127.0.0.1:99999"), 2, "give host:port"),
        (("prove", "--to", "127.0.0.1:1", "--called", "X" * 17), 2, "--called: "),
        (("check", "[/x]"), 2, "[/x] is no service"),
        (("proxy", "--config", "/no/such/file"), 2, "can't be read"),
        (("reindex",), 2, "PROVIDER_NAME is not set"),
    ],
)
def test_a_command_ends_in_a_sentence(
    arguments: tuple[str, ...], status: int, message: str
) -> None:
    output = ended(*arguments)
    assert output.returncode == status
    assert message in output.stdout + output.stderr
    assert "Traceback" not in output.stderr


def test_standalone_killed_leaves_no_server_behind_and_loses_nothing(tmp_path: Path) -> None:
    made = made_instances(tmp_path / "in", 2, 4096)
    with standalone(tmp_path / "data") as (process, peer):
        assert [a.status for a in scu.store(peer, [m.path for m in made])] == [0, 0]
        process.kill()
        process.wait()
    with standalone(tmp_path / "data") as (_, peer):
        assert len(_images(peer, made[0].path)) == 2


def _images(peer: Peer, like: Path) -> list[Dataset]:
    header = dcmread(like, stop_before_pixels=True)
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = header.StudyInstanceUID
    identifier.SeriesInstanceUID = header.SeriesInstanceUID
    identifier.SOPInstanceUID = ""
    return list(scu.find(peer, identifier))


def test_the_demo_proves_itself(tmp_path: Path) -> None:
    ended = subprocess.run(
        command("demo", "--data", str(tmp_path / "demo")),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    assert "byte for byte" in ended.stdout
    assert "dcmsend -aec" in ended.stdout
    assert "http://127.0.0.1:8080/ " in ended.stdout


def environment_of(service: ServiceProcess) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **service.environment}


@pytest.mark.parametrize("which", ["proxy", "ingestion", "dicomweb", "catalogue"])
def test_check_finds_nothing_wrong_in_a_right_configuration(shared: System, which: str) -> None:
    name = "ingestion" if which == "dicomweb" else which  # has the same settings
    service = next(each for each in shared.space.services if each.arguments == [name])
    ended = subprocess.run(
        command("check", which),
        env=environment_of(service),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "wrong" not in ended.stdout


def checked_catalogue(url: str) -> subprocess.CompletedProcess[str]:
    return ended("check", "catalogue", DATABASE_URL=url, DIMSE_HTTP_HOST="127.0.0.1")


def test_check_creates_no_database(tmp_path: Path) -> None:
    checked = checked_catalogue(f"sqlite:///{tmp_path}/new/catalogue.db")
    assert checked.returncode == 0
    assert "new/catalogue.db does not exist yet: the catalogue creates it" in checked.stdout
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a-file").touch()
    checked = checked_catalogue(f"sqlite:///{tmp_path}/a-file/catalogue.db")
    assert checked.returncode == 1
    assert "a-file is no folder" in checked.stdout


def test_check_names_a_port_that_is_none() -> None:
    checked = checked_catalogue("postgresql://user:secret@127.0.0.1:99999/name")
    assert checked.returncode == 1
    assert "the port 99999 is none: give one from 1 to 65535" in checked.stdout
    assert "secret" not in checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("which", "variable", "value", "output"),
    [
        ("proxy", "DIMSE_AE", "A-TITLE-THAT-IS-TOO-LONG", "DIMSE_AE"),
        ("proxy", "DIMSE_NATS_URL", "nats://127.0.0.1:1", "NATS"),
        ("ingestion", "BUCKET_CONFIG_PATH", "/nowhere", "/nowhere"),
        ("ingestion", "K_SINK", "http://127.0.0.1:1/events", "event sink"),
        ("ingestion", "K_SINK", "{K_SINK}/elsewhere", "takes no events at this path"),
        ("ingestion", "QUERY_ENDPOINT", "{QUERY_ENDPOINT}/x", "takes no queries at this path"),
        ("catalogue", "DATABASE_URL", "nonsense://", "DATABASE_URL"),
    ],
)
def test_check_names_what_is_wrong(
    shared: System, which: str, variable: str, value: str, output: str
) -> None:
    service = next(each for each in shared.space.services if each.arguments == [which])
    environment = environment_of(service)
    ended = subprocess.run(
        command("check", which),
        env=environment | {variable: value.format(**environment)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    (line,) = [
        line
        for line in (ended.stdout + ended.stderr).splitlines()
        if "wrong" in line and output in line
    ][:1]
    assert output in line


def test_reindex_rebuilds_the_catalogue_from_the_bucket(system: System, tmp_path: Path) -> None:
    made = made_instances(tmp_path / "in", 5, 4096)
    assert all(a.status == 0 for a in scu.store(system.peer, [m.path for m in made]))
    system.catalogue.kill()
    for part in system.space.folder.glob("catalogue.db*"):
        part.unlink()
    system.catalogue.start().ready()
    assert not system.catalogued(made[0].sop_instance_uid)
    assert "5 instances" in reindexed(system)
    assert all(system.catalogued(m.sop_instance_uid) for m in made)


def reindexed(system: System, *options: str) -> str:
    """Run the command beside the bucket; return its output."""
    ended = subprocess.run(
        command("reindex", *options),
        env=environment_of(system.ingestion[0]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_an_object_that_a_crash_left_without_an_entry_is_found(
    system: System, tmp_path: Path
) -> None:
    """The catalogue as it was before the last commit, and the bucket as it is."""
    made = made_instances(tmp_path / "in", 4, 4096)
    paths = [each.path for each in made]
    assert all(a.status == 0 for a in scu.store(system.peer, paths[:3]))
    before = tmp_path / "before.db"
    with (
        closing(sqlite3.connect(system.space.folder / "catalogue.db")) as running,
        closing(sqlite3.connect(before)) as copy,
    ):
        running.backup(copy)
    assert scu.store(system.peer, paths[3:])[0].status == 0
    system.catalogue.kill()
    for part in system.space.folder.glob("catalogue.db*"):
        part.unlink()
    before.rename(system.space.folder / "catalogue.db")
    system.catalogue.start().ready()
    assert not system.catalogued(made[3].sop_instance_uid)
    assert reindexed(system, "--missing").endswith(
        "1 instances sent, 3 known already, 0 other objects skipped, 0 left out\n"
    )
    assert system.catalogued(made[3].sop_instance_uid)
    assert "0 instances sent, 4 known already" in reindexed(system, "--missing")


def instance_number_of(system: System, like: Path) -> str:
    from pydicom import Dataset, dcmread

    header = dcmread(like, stop_before_pixels=True)
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = header.StudyInstanceUID
    identifier.SeriesInstanceUID = header.SeriesInstanceUID
    identifier.SOPInstanceUID = header.SOPInstanceUID
    identifier.InstanceNumber = ""
    (match,) = scu.find(system.peer, identifier)
    return str(match.InstanceNumber)


def test_reindex_lets_the_latest_data_set_answer_as_before(system: System, tmp_path: Path) -> None:
    (first,) = made_instances(tmp_path / "in", 1, 4096)
    content = first.path.read_bytes()
    others = []
    for number in b"123456789":
        other = tmp_path / f"{number}.dcm"
        at = content.index(b"\x20\x00\x13\x00IS")
        other.write_bytes(content[: at + 8] + bytes([number]) + content[at + 9 :])
        others.append(other)
    assert all(a.status == 0 for a in scu.store(system.peer, [first.path, *others]))
    assert instance_number_of(system, first.path) == "9"
    system.catalogue.kill()
    for part in system.space.folder.glob("catalogue.db*"):
        part.unlink()
    system.catalogue.start().ready()
    ended = subprocess.run(
        command("reindex"),
        env=environment_of(system.ingestion[0]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert instance_number_of(system, first.path) == "9"
