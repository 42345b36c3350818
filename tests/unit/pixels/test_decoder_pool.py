import asyncio
import os
import re
import signal
import struct
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from dimse_ingestion.dicom.elements import BulkReference, Element, element
from dimse_ingestion.dicom.frames import image_pixels
from dimse_ingestion.failures import Failure, LimitExceeded, Unavailable
from dimse_ingestion.pixels import decoder, decoder_pool
from dimse_ingestion.pixels.decoder_pool import DecoderPool
from dimse_ingestion.pixels.failures import DecodersMissing, Undecodable
from dimse_ingestion.pixels.frame_job import check_size, frame_decode_job
from dimse_ingestion.pixels.jobs import DecodeJob, RenderParameters

EXPLICIT = "1.2.840.10008.1.2.1"
JPEG = "1.2.840.10008.1.2.4.50"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
PNG = RenderParameters(media_type="image/png")


def job_for(
    rows: int = 4,
    columns: int = 4,
    syntax: str = EXPLICIT,
    frame: bytes = b"",
    *,
    colours: int = 1,
    bits: int = 8,
) -> DecodeJob:
    elements = image_elements(rows, columns, colours, bits)
    stored_elements = [*elements, Element("7FE0", "0010", "OW", bulk=BulkReference(0, 1))]
    return frame_decode_job(
        frame or bytes(rows * columns), elements, image_pixels(stored_elements), syntax
    )


def image_elements(rows: int, columns: int, colours: int = 1, bits: int = 8) -> list[Element]:
    return [
        element(0x00280002, "US", str(colours)),
        element(0x00280004, "CS", "MONOCHROME2" if colours == 1 else "RGB"),
        element(0x00280010, "US", str(rows)),
        element(0x00280011, "US", str(columns)),
        element(0x00280100, "US", str(bits)),
        element(0x00280101, "US", str(bits)),
        element(0x00280102, "US", str(bits - 1)),
        element(0x00280103, "US", "0"),
    ]


def children() -> set[int]:
    return {
        each.pid
        for each in psutil.Process().children(recursive=True)
        if "spawn_main" in " ".join(each.cmdline())
    }


async def test_processes_start_with_the_first_image_and_end_with_the_pool() -> None:
    before = children()
    async with DecoderPool(1) as pool:
        assert children() == before
        picture = await pool.render(job_for(2048, 2048), PNG)
        assert picture.startswith(b"\x89PNG")
        assert len(children() - before) == 1
    assert children() == before


async def test_a_small_grey_frame_is_rendered_without_a_process() -> None:
    before = children()
    frame = bytes(range(256)) * 16
    async with DecoderPool(1) as pool:
        for parameters in (PNG, RenderParameters(size=(200, 100), is_thumbnail=True)):
            job = job_for(64, 64, frame=frame)
            assert await pool.render(job, parameters) == decoder.render(job, parameters)
        assert children() == before


@pytest.mark.parametrize(
    ("job", "parameters"),
    [
        (job_for(1024, 1025), RenderParameters()),
        (job_for(), RenderParameters(size=(8192, 8192))),
        (job_for(frame=bytes(48), colours=3), RenderParameters()),
        (job_for(bits=1), RenderParameters()),
    ],
    ids=["a large frame", "a large picture", "colours", "bits"],
)
async def test_another_frame_is_rendered_in_a_process(
    job: DecodeJob, parameters: RenderParameters
) -> None:
    before = children()
    async with DecoderPool(1) as pool:
        assert await pool.render(job, parameters) == decoder.render(job, parameters)
        assert len(children() - before) == 1


async def test_a_frame_that_fails_in_a_thread_is_undecodable() -> None:
    broken = replace(job_for(), presentation=b"\x28\x00\x10\x00US\x02\x00\x04")
    async with DecoderPool(1) as pool:
        with pytest.raises(Undecodable, match="can't be decoded"):
            await pool.render(broken, PNG)
        assert (await pool.render(job_for(), PNG)).startswith(b"\x89PNG")


async def test_rendering_needs_the_extra_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dimse_ingestion.pixels.rendering", None)
    async with DecoderPool(1) as pool:
        with pytest.raises(DecodersMissing, match=r"without \[pixels\]"):
            await pool.render(job_for(), PNG)


def has_started(pool: DecoderPool) -> bool:
    """Return whether a process has acknowledged a job."""
    assert pool._pool is not None
    tasks = list(pool._pool._pool_manager.task_manager.tasks.values())
    return any(task.started for task in tasks)


async def test_a_process_that_dies_fails_one_image_and_is_replaced() -> None:
    before = children()
    async with DecoderPool(1) as pool:
        await pool.decode(job_for())
        [worker] = children() - before
        large = job_for(8000, 8000)
        at_work = asyncio.create_task(pool.render(large, PNG))
        while not has_started(pool):  # noqa: ASYNC110 - another process is watched
            await asyncio.sleep(0)
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(Failure, match="decoder crashed"):
            await at_work
        assert len(await pool.decode(job_for())) == 16


async def test_a_decode_that_exceeds_its_timeout_fails_and_the_next_one_succeeds() -> None:
    async with DecoderPool(1, decode_timeout=0.3) as pool:
        pool._decode_timeout = 60
        await pool.decode(job_for())  # the process is there
        pool._decode_timeout = 0.3
        started = time.monotonic()
        with pytest.raises(Failure, match=r"longer than 0\.3 s"):
            await pool.render(job_for(12000, 12000), PNG)
        assert time.monotonic() - started < 10
        pool._decode_timeout = 60
        assert len(await pool.decode(job_for())) == 16


def jpeg_of(side: int) -> bytes:
    """Return a JPEG of a few bytes whose header claims a square image."""
    header = struct.pack(">BBHBHHB", 0xFF, 0xC0, 11, 8, side, side, 1) + b"\x01\x11\x00"
    tables = b"\xff\xdb\x00\x43\x00" + b"\1" * 64 + b"\xff\xc4\x00\x14\x00\1" + bytes(16)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + bytes(20)
    return b"\xff\xd8\xff\xff" + tables[1:] + header + scan + b"\xff\xd9"


@pytest.mark.parametrize("syntax", [JPEG, JPEG_2000])
async def test_a_small_code_stream_that_claims_a_large_image_is_refused_without_memory(
    syntax: str,
) -> None:
    before = children()
    async with DecoderPool(1) as pool:
        for _ in range(3):
            with pytest.raises(Undecodable, match=r"larger than|no JPEG 2000"):
                await pool.decode(job_for(16, 16, syntax, jpeg_of(65500)))
        [worker] = children() - before
        assert psutil.Process(worker).memory_info().rss < 300 * 2**20
        assert len(await pool.decode(job_for())) == 16


async def test_a_process_without_memory_is_replaced_before_the_next_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        decoder_pool, "process_pool", partial(decoder_pool.process_pool, address_space=1 << 30)
    )
    before = children()
    async with DecoderPool(1) as pool:
        await pool.decode(job_for())
        [worker] = children() - before
        with pytest.raises(LimitExceeded, match="more memory than is allowed"):
            await pool.decode(job_for(16000, 16000, JPEG, jpeg_of(16000)))
        assert len(await pool.decode(job_for())) == 16
        assert worker not in children()


async def test_a_process_that_holds_too_much_memory_passes_its_job_to_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        decoder_pool, "process_pool", partial(whole := decoder_pool.process_pool, idle_memory=1)
    )
    async with DecoderPool(1) as pool:
        with pytest.raises(Failure, match="decoder crashed"):
            await pool.decode(job_for())
    monkeypatch.setattr(decoder_pool, "process_pool", whole)
    async with DecoderPool(1) as pool:
        assert len(await pool.decode(job_for())) == 16


async def test_pixels_that_are_not_a_code_stream_are_undecodable() -> None:
    async with DecoderPool(1) as pool:
        with pytest.raises(Undecodable, match="no JPEG 2000"):
            await pool.decode(job_for(syntax=JPEG_2000, frame=b"no code stream"))


async def test_a_transfer_syntax_without_a_decoder_is_refused() -> None:
    async with DecoderPool(1) as pool:
        with pytest.raises(Undecodable, match="syntax can't be decoded here"):
            await pool.decode(job_for(syntax="1.2.840.10008.1.2.4.103", frame=b"1234"))


async def test_a_full_queue_of_images_is_unavailable() -> None:
    pool = DecoderPool(1)
    pool._queued_jobs = 32
    with pytest.raises(Unavailable, match="Too many"):
        await pool.decode(job_for())


def test_a_frame_too_large_to_be_decoded_is_refused_before_it_is_read() -> None:
    stored_elements = [
        *image_elements(60000, 60000),
        Element("7FE0", "0010", "OW", bulk=BulkReference(0, 1)),
    ]
    with pytest.raises(LimitExceeded, match="60000 rows"):
        check_size(image_pixels(stored_elements))


def test_the_service_process_calls_no_codec() -> None:
    """Only worker processes import `decoder`: `decoder_pool` names it as a string."""
    source = Path(decoder.__file__).parent
    importing = [
        path.name
        for path in source.parent.rglob("*.py")
        if re.search(r"import decoder\b|\bpixels\.decoder import", path.read_text())
    ]
    assert importing == []
