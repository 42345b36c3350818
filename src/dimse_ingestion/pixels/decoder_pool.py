"""A pool of worker processes that decode and render pixels, and that may crash without harm.

Processes start with the first image and are replaced after a crash. They are ended when a decode
takes too long or has used too much memory, and images that are too large to decode are refused
before. They run the functions of `decoder`. Small grey frames that are stored without compression
need no codec: they are rendered in a thread, which takes a quarter of the time.
"""

import asyncio
import errno
import multiprocessing
import os
import resource
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from dimse_ingestion.failures import Failure, LimitExceeded, Unavailable
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.pixels.failures import DecodersMissing, Undecodable
from dimse_ingestion.pixels.jobs import DecodedPixels, DecodeJob, FrameRanges, RenderParameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from pebble import ProcessPool

_LOG = logger(__name__)
_DECODE_TIMEOUT = 30.0
DECODE_FRAMES_TIMEOUT = 120.0
"""Seconds in which all frames of an instance must be decoded."""

_BASE = "1.2.840.10008.1.2"
DECODABLE = frozenset(
    f"{_BASE}.{end}" for end in ("1.98", "5", *(f"4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91)))
) | frozenset(f"{_BASE}.4.{n}" for n in (201, 202, 203))
"""Transfer syntaxes with fragments that can be decoded."""

_LIBRARIES = ("pebble", "numpy", "PIL", "pylibjpeg", "libjpeg", "openjpeg", "rle")
_MAX_ADDRESS_SPACE = 4 * 2**30  # bytes of a process: a decoder that needs more fails
_MAX_IDLE_MEMORY = 384 * 2**20  # bytes that a process may use between two jobs
_QUEUED_JOBS_PER_WORKER = 32
_IN_A_THREAD = 2**20  # bytes of a frame, and pixels of its picture
_MAX_PRESENTATION_IN_A_THREAD = 2**14  # bytes; its values take a hundred times as much, cached
_MAX_JOBS_PER_PROCESS = 500  # then the process is replaced, because codecs leak memory
_IDLE_MEMORY_VARIABLE = "_DECODER_IDLE_MEMORY"  # set in the worker process only
_EXHAUSTED, _RETIRED = 71, 75  # exit codes
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES)
_ATTEMPTS = 4  # of a job whose process ended before the job started
_ACKNOWLEDGE_SECONDS = 0.2  # time for the pool to learn which process has the job


class DecoderPool:
    """A pool of `workers` processes; an asynchronous context manager that ends them."""

    def __init__(
        self,
        workers: int,
        *,
        decode_timeout: float = _DECODE_TIMEOUT,
        decode_frames_timeout: float = DECODE_FRAMES_TIMEOUT,
    ) -> None:
        self._workers = workers
        self._decode_timeout = decode_timeout
        self._decode_frames_timeout = decode_frames_timeout
        self._pool: ProcessPool | None = None
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="rendering")
        self._queued_jobs = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown(wait=False)
        if (process_pool := self._pool) is not None:
            process_pool.stop()  # type: ignore[no-untyped-call]
            await asyncio.to_thread(process_pool.join)

    async def decode(self, job: DecodeJob) -> bytes:
        """Return a frame's samples in little endian. Raises Failure."""
        result: bytes = await self._run("decode", self._decode_timeout, job)
        return result

    async def render(self, job: DecodeJob, parameters: RenderParameters) -> bytes:
        """Return a frame as PNG or JPEG. Raises Failure."""
        if _may_need_no_codec(job, parameters):
            with self._queued_job():
                loop = asyncio.get_running_loop()
                rendered = await loop.run_in_executor(
                    self._threads, render_in_thread, job, parameters
                )
            if rendered is not None:
                return rendered
        result: bytes = await self._run("render", self._decode_timeout, job, parameters)
        return result

    async def decode_frames(
        self, source: Path, target: Path, frames: Sequence[FrameRanges], template: DecodeJob
    ) -> DecodedPixels:
        """Decode the frames in a file, and write them to another one. Raises Failure."""
        result: DecodedPixels = await self._run(
            "decode_frames", self._decode_frames_timeout, source, target, frames, template
        )
        return result

    async def _run(self, name: str, timeout_seconds: float, *arguments: object) -> Any:
        with self._queued_job():
            return await self._run_with_retry(name, timeout_seconds, arguments)

    @contextmanager
    def _queued_job(self) -> Iterator[None]:
        """Count a job within the block; raises Unavailable if too many wait."""
        if self._queued_jobs >= self._workers * _QUEUED_JOBS_PER_WORKER:
            raise Unavailable("Too many images wait to be decoded: retry later.")
        self._queued_jobs += 1
        try:
            yield
        finally:
            self._queued_jobs -= 1

    async def _run_with_retry(
        self, name: str, timeout_seconds: float, arguments: tuple[object, ...]
    ) -> Any:
        """Run a job, and retry it if its process ended before the job started. Raises Failure."""
        for attempt in range(_ATTEMPTS):
            try:
                future = self._running_pool().submit(run_job, timeout_seconds, name, arguments)
                return await asyncio.wrap_future(future)
            except TookTooLong:
                raise _decoding_failed(
                    f"Decoding took longer than {timeout_seconds:g} s and was stopped"
                ) from None
            except ValueError as undecodable:
                raise Undecodable(str(undecodable)) from None
            except (
                OSError,
                RuntimeError,
            ) as process_error:  # pebble's ProcessExpired, among others
                code = getattr(process_error, "exitcode", None)
                if code == _EXHAUSTED:
                    raise _out_of_memory() from None
                has_started = isinstance(process_error, OSError) and code != _RETIRED
                if has_started or attempt == _ATTEMPTS - 1:
                    _LOG.warning(
                        "A decoding process failed.", job=name, error=type(process_error).__name__
                    )
                    raise _decoding_failed("The decoder crashed on this image") from None
        raise AssertionError  # the last attempt returns or raises

    def _running_pool(self) -> "ProcessPool":
        """Return the pool; create a new one where a crash has ended the previous pool."""
        if self._pool is None or not self._pool.active:
            self._pool = process_pool(self._workers)
        return self._pool


def _may_need_no_codec(job: DecodeJob, parameters: RenderParameters) -> bool:
    """Tell whether a thread may render a frame, because little can go wrong in little time."""
    width, height = parameters.size or (0, 0)
    return (
        not job.is_encapsulated
        and len(job.frame) <= _IN_A_THREAD
        and len(job.presentation) <= _MAX_PRESENTATION_IN_A_THREAD
        and width * height <= _IN_A_THREAD
    )


def render_in_thread(job: DecodeJob, parameters: RenderParameters) -> bytes | None:
    """Return a frame as PNG or JPEG, None for one that `decoder` has to decode.

    Raises Undecodable, and DecodersMissing where the libraries are not installed.
    """
    try:
        from dimse_ingestion.pixels.rendering import render_stored_greys
    except ImportError:
        raise _decoders_missing() from None
    try:
        return render_stored_greys(job, parameters)
    except Exception as error:  # noqa: BLE001 - pixel libraries raise anything
        raise Undecodable(str(_undecodable(error))) from None


def missing_libraries() -> str:
    """Return the names of the libraries that are needed and not installed, or nothing."""
    return ", ".join(each for each in _LIBRARIES if find_spec(each) is None)


def process_pool(
    workers: int, *, address_space: int = _MAX_ADDRESS_SPACE, idle_memory: int = _MAX_IDLE_MEMORY
) -> "ProcessPool":
    """Return a pool of processes with limits on address space and on memory between two jobs.

    Raises DecodersMissing where the libraries are not installed.
    """
    try:
        from pebble import ProcessPool
    except ImportError:
        raise _decoders_missing() from None
    return ProcessPool(
        max_workers=workers,
        max_tasks=_MAX_JOBS_PER_PROCESS,
        initializer=_limit_process,
        initargs=(address_space, idle_memory),
        context=multiprocessing.get_context("spawn"),
    )


def _decoders_missing() -> DecodersMissing:
    return DecodersMissing(
        "Pixels can't be decoded here: dimse-ingestion was installed without [pixels]."
    )


def _limit_process(address_space: int, idle_memory: int) -> None:
    """Limit the address space and the threads of a new worker process."""
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ[_IDLE_MEMORY_VARIABLE] = str(idle_memory)


def run_job(name: str, arguments: tuple[object, ...]) -> Any:
    """Call one of `decoder`'s functions, in a process of the pool.

    Raises ValueError for pixels that can't be decoded, and Unavailable when the disk is full.

    A process that ran out of memory, or still uses too much of it, takes no other job: codecs leak
    what they allocated before they failed, so that valid images would be refused later.
    """
    if _holds_too_much():
        _end_process(_RETIRED)
    try:
        function: Callable[..., Any] = getattr(
            import_module("dimse_ingestion.pixels.decoder"), name
        )
        return function(*arguments)
    except MemoryError:
        _end_process(_EXHAUSTED)
    except OSError as error:
        if error.errno in _DISK_ERRORS:
            raise Unavailable(f"Decoded pixels can't be written: {error.strerror}") from None
        raise _undecodable(error) from None
    except Exception as error:  # noqa: BLE001 - codecs raise anything, and some of it can't be pickled
        if _holds_too_much():
            _end_process(_EXHAUSTED)
        raise _undecodable(error) from None


def _undecodable(error: Exception) -> ValueError:
    is_known = type(error).__name__ == "Undecodable"
    reason = str(error) if is_known else "Its pixel data is damaged or in an unknown format."
    return ValueError(f"The instance can't be decoded. {reason}")


def _holds_too_much() -> bool:
    """Tell whether this process uses more memory than allowed between two jobs."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize() > int(os.environ[_IDLE_MEMORY_VARIABLE])


def _end_process(code: int) -> NoReturn:
    """End this process, after time for the pool to learn that it has the job."""
    time.sleep(_ACKNOWLEDGE_SECONDS)
    os._exit(code)


def _out_of_memory() -> LimitExceeded:
    return LimitExceeded(
        "Decoding this image needs more memory than is allowed: retrieve it as it is stored."
    )


def _decoding_failed(reason: str) -> Failure:
    return Failure(f"{reason}: retrieve the instance as it is stored.")
