"""DCMTK's storescp and getscu get what they accept: pixels decompressed, data sets re-encoded."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import UID

from dimse_ingestion.pixels.decoder_pool import DECODE_FRAMES_TIMEOUT
from harness import modalities
from harness.decoders import decoders
from harness.nats_server import NatsServer, nats_server
from harness.ports import free_port
from harness.scu import store
from tests.corpus import BIG, EXPLICIT, IMPLICIT, RLE, WORD_FRAMES, CorpusInstance, corpus
from tests.corpus_images import STUDY, encoded, image
from tests.decoded import by_pydicom, difference
from tests.integration.whole.conftest import System, started
from tests.integration.whole.test_moving import House, Scu, movescu
from tests.integration.whole.test_retrieving import Scu as Getter
from tests.integration.whole.test_retrieving import counts, workstation

pytestmark = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())

BASELINE, LOSSLESS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70"
NATIVE = {EXPLICIT, IMPLICIT, BIG}
NAMES = {
    "grey 16 big endian",
    "frames deflated",
    "baseline YBR_FULL_422",
    "lossless signed",
    "JPEG-LS 12",
    "RLE RGB",
    "JPEG 2000 YBR_RCT",
}


@dataclass(frozen=True)
class Stored:
    """Some instances of the corpus in a system; `port` is that of the move destination."""

    system: System
    instances: list[CorpusInstance]
    port: int

    @property
    def house(self) -> House:
        return House(self.system, {"ARCHIVE": self.port})

    def by_uid(self) -> dict[str, CorpusInstance]:
        return {each.sop_instance_uid: each for each in self.instances}


def opened(folder: Path, nats: NatsServer, instances: Sequence[Path], **extra: str) -> Stored:
    """Start a system with a destination, and store these files."""
    port = free_port()
    peers: list[dict[str, Any]] = [
        {"aeTitle": "WS1", "may": ["get", "move"]},
        {"aeTitle": "ARCHIVE", "host": "127.0.0.1", "port": port},
    ]
    rights = {"DIMSE_RETRIEVE_ENABLED": "true", "DIMSE_PEERS": json.dumps(peers)}
    system = started(folder, nats, 1, **rights, **extra)
    try:
        assert {each.status for each in store(system.peer, instances)} == {0}
    except BaseException:
        system.space.close()
        raise
    return Stored(system, [], port)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    folder = tmp_path_factory.mktemp("decompressing")
    instances = [each for each in corpus(folder / "files") if each.name in NAMES]
    with nats_server(folder / "nats") as nats:
        running = opened(folder / "space", nats, [each.path for each in instances])
        yield Stored(running.system, instances, running.port)
        running.system.space.close()


def files_of(folder: Path) -> list[Path]:
    return [each for each in folder.iterdir() if each.is_file()]


def check(received: list[Path], stored: Stored, accepted: set[str], native: str) -> None:
    """Fail unless each file has the stored syntax if that is accepted, and the stored pixels."""
    assert len(received) == len(stored.instances)
    for path in received:
        head = dcmread(path, stop_before_pixels=True)
        instance = stored.by_uid()[str(head.SOPInstanceUID)]
        is_accepted = instance.transfer_syntax_uid in accepted
        expected = instance.transfer_syntax_uid if is_accepted else native
        assert (instance.name, head.file_meta.TransferSyntaxUID) == (instance.name, expected)
        assert difference(by_pydicom(path), by_pydicom(instance.path)) == 0, instance.name


@pytest.mark.parametrize(
    ("options", "accepted", "native"),
    [
        (["+xi"], {IMPLICIT}, IMPLICIT),
        (["+xe"], NATIVE, EXPLICIT),
        (["+xy"], NATIVE | {BASELINE}, EXPLICIT),
        (["+xs"], NATIVE | {LOSSLESS}, EXPLICIT),
        (["+xr"], NATIVE | {RLE}, EXPLICIT),
    ],
    ids=["implicit", "native", "JPEG", "lossless JPEG", "RLE"],
)
async def test_storescp_gets_what_it_accepts(
    stored: Stored, options: list[str], accepted: set[str], native: str, tmp_path: Path
) -> None:
    with modalities.storescp(tmp_path, "-B", *options, port=stored.port):
        ended = await movescu(workstation(stored.system), "ARCHIVE", STUDY)
    assert ended.status == 0, ended.output
    await asyncio.to_thread(check, files_of(tmp_path), stored, accepted, native)


@pytest.mark.parametrize(
    ("options", "accepted", "native"),
    [
        (["+xe"], {EXPLICIT}, EXPLICIT),
        (["+xs"], {EXPLICIT}, EXPLICIT),
        (["+xy"], {EXPLICIT}, EXPLICIT),
    ],
    ids=["native", "lossless JPEG or native", "JPEG or native"],
)
async def test_getscu_gets_native_pixels_where_it_takes_them(
    stored: Stored, options: list[str], accepted: set[str], native: str, tmp_path: Path
) -> None:
    keys = ["-k", "0008,0052=STUDY", "-k", f"0020,000d={STUDY}"]
    peer = workstation(stored.system)
    arguments = peer.arguments("-v", "-S", "+B", *keys, "-od", str(tmp_path), *options)
    ended = await modalities.ran(modalities.program("getscu"), *arguments)
    assert ended.status == 0, ended.output
    await asyncio.to_thread(check, files_of(tmp_path), stored, accepted, native)


async def test_getscu_for_implicit_vr_gets_what_it_proposes(stored: Stored, tmp_path: Path) -> None:
    """DCMTK 3.6.7 proposes explicit VR little endian alone where it is to accept implicit VR."""
    keys = ["-k", "0008,0052=STUDY", "-k", f"0020,000d={STUDY}"]
    arguments = workstation(stored.system).arguments(
        "-d", "-S", "+B", *keys, "-od", str(tmp_path), "+xi"
    )
    ended = await modalities.ran(modalities.program("getscu"), *arguments)
    assert ended.status == 0, ended.output
    request = ended.output.partition("BEGIN A-ASSOCIATE-RQ")[2].partition("END A-ASSOCIATE-RQ")[0]
    storage = request.partition("Role: SCP")[2]  # the first context is for the C-GET itself
    proposed = {"Explicit": EXPLICIT, "Implicit": IMPLICIT}
    (only,) = {syntax for name, syntax in proposed.items() if f"=LittleEndian{name}" in storage}
    await asyncio.to_thread(check, files_of(tmp_path), stored, {only}, only)


def lossless(folder: Path, number: int, *, damaged: bool = False) -> Path:
    """Write a JPEG lossless image, whose code stream may be damaged behind its headers."""
    pixels = np.random.default_rng(number).integers(0, 4096, (64, 64), dtype=np.uint16)
    data_set = image(number, "1.2.840.10008.5.1.4.1.1.2", pixels, stored=12)
    path = encoded(data_set, folder / f"{number}.dcm", "dcmcjpeg", "+e1", "+un")
    if damaged:
        content = bytearray(path.read_bytes())
        begin = content.index(b"\xff\xda") + 20
        content[begin : begin + 2000] = b"\xff\xc4\x00\x03" * 500
        path.write_bytes(content)
    return path


async def test_a_damaged_code_stream_fails_its_sub_operation_alone(tmp_path: Path) -> None:
    paths = [lossless(tmp_path, 1), lossless(tmp_path, 2, damaged=True), lossless(tmp_path, 3)]
    (tmp_path / "out").mkdir()
    with nats_server(tmp_path / "nats") as nats:
        stored = opened(tmp_path / "space", nats, paths)
        try:
            with modalities.storescp(tmp_path / "out", "+xi", port=stored.port):
                scu = Scu(stored.house)
                final = await asyncio.to_thread(scu.move, STUDY, "ARCHIVE")
            assert (final.Status, counts(final)) == (0xB000, (2, 1, 0, None))
            assert scu.identifiers[-1].FailedSOPInstanceUIDList == f"{STUDY}.1.2"
            assert len(files_of(tmp_path / "out")) == 2
            log = stored.system.proxy.log.read_text()
            assert f"Let the receiver accept transfer syntax {LOSSLESS}" in log
            assert "Corpus" not in log
        finally:
            stored.system.space.close()


async def test_a_cancel_does_not_wait_for_a_long_decode(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats") as nats:
        stored = opened(tmp_path / "space", nats, [lossless(tmp_path, 1)])
        (ingestion,) = stored.system.ingestion
        try:
            first = Getter(stored.system, [UID(IMPLICIT)])
            assert (await asyncio.to_thread(first.get, STUDY)).Status == 0  # starts the decoders
            suspended = decoders(ingestion.pid)
            assert suspended
            for each in suspended:
                each.suspend()  # so that the decode takes as long as it may
            scu = Getter(stored.system, [UID(IMPLICIT)])
            started_at = time.monotonic()
            final = await asyncio.to_thread(scu.get, STUDY, cancel_after=1)
            assert time.monotonic() - started_at < DECODE_FRAMES_TIMEOUT / 2
            assert (final.Status, counts(final)) == (0xFE00, (0, 0, 0, 1))
            assert scu.received == {}
            for each in suspended:
                each.resume()
            again = Getter(stored.system, [UID(IMPLICIT)])
            assert (await asyncio.to_thread(again.get, STUDY)).Status == 0
        finally:
            stored.system.space.close()


async def test_a_service_without_decoders_says_what_to_configure(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with nats_server(tmp_path / "nats") as nats:
        paths = [lossless(tmp_path, 1)]
        stored = opened(tmp_path / "space", nats, paths, DIMSE_DECODERS="0")
        try:
            with modalities.storescp(tmp_path / "out", "+xi", port=stored.port):
                final = await asyncio.to_thread(Scu(stored.house).move, STUDY, "ARCHIVE")
            assert (final.Status, counts(final)) == (0xA702, (0, 1, 0, None))
            (ingestion,) = stored.system.ingestion
            assert "DIMSE_DECODERS is 0" in ingestion.log.read_text()
            for log in (ingestion.log.read_text(), stored.system.proxy.log.read_text()):
                assert "this ingestion service has no decoders" in log
        finally:
            stored.system.space.close()


async def test_memory_does_not_grow_with_the_decoded_pixels(tmp_path: Path) -> None:
    frames = 200
    pixels = (
        np.zeros((frames, 512, 512), np.uint16) + np.arange(frames, dtype=np.uint16)[:, None, None]
    )
    data_set = image(1, WORD_FRAMES, pixels, frames=frames)
    path = encoded(data_set, tmp_path / "long.dcm", "dcmcrle")
    (tmp_path / "out").mkdir()
    with nats_server(tmp_path / "nats") as nats:
        stored = opened(tmp_path / "space", nats, [path])
        try:
            with modalities.storescp(tmp_path / "out", "-B", "+xi", port=stored.port):
                ended = await movescu(workstation(stored.system), "ARCHIVE", STUDY)
            assert ended.status == 0, ended.output
            (received,) = files_of(tmp_path / "out")
            assert received.stat().st_size > pixels.nbytes
            assert dcmread(received).PixelData == pixels.tobytes()
            for service in (stored.system.proxy, *stored.system.ingestion):
                assert service.peak_memory() < 220 * 2**20
            assert list((stored.system.space.folder / "decompression").iterdir()) == []
        finally:
            stored.system.space.close()
