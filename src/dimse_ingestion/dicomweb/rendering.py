"""Pixels decoded and pictured in processes beside the door, which may die of it.

Processes are started with the first image, replaced after a crash, ended when a decode takes too
long, and given nothing that is larger decoded than they may hold. What they run is `decoding`.
"""

import asyncio
import multiprocessing
import os
import resource
from concurrent.futures import TimeoutError as TookTooLong
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.encoding import encoded
from dimse_ingestion.dicom.frames import ImagePixels
from dimse_ingestion.dicomweb.problems import Problem
from dimse_ingestion.dicomweb.views import Job, View
from dimse_ingestion.observability.logging import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from pebble import ProcessPool

_LOG = logger(__name__)
_TOO_LARGE, _FAILED, _UNAVAILABLE, _NOT_ACCEPTABLE = 413, 500, 503, 406
_LONGEST_DECODE = 30.0
_LONGEST_TRANSCODE = 120.0
MOST_DECODED = 256 * 2**20
"""Bytes of one frame, decoded."""

MOST_TRANSCODED = 512 * 2**20
"""Bytes of an instance whose pixels are decompressed as a whole."""

_MEMORY = 6 * 2**30  # of a process: addresses, of which a few per cent are memory
_WAITING_PER_WORKER = 32
_JOBS_OF_A_PROCESS = 500  # then another takes its place: codecs leak
_KEYWORDS = {"OF": "FloatPixelData", "OD": "DoubleFloatPixelData"}


class Rendering:
    """A pool of `workers` processes; an asynchronous context manager that ends them."""

    def __init__(
        self,
        workers: int,
        *,
        longest_decode: float = _LONGEST_DECODE,
        longest_transcode: float = _LONGEST_TRANSCODE,
    ) -> None:
        self._workers = workers
        self._longest_decode = longest_decode
        self._longest_transcode = longest_transcode
        self._pool: ProcessPool | None = None
        self._asked = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if (pool := self._pool) is not None:
            pool.stop()  # type: ignore[no-untyped-call]
            await asyncio.to_thread(pool.join)

    async def decoded(self, job: Job) -> bytes:
        """A frame's samples in little endian; raises Problem."""
        result: bytes = await self._done("decoded", self._longest_decode, job)
        return result

    async def pictured(self, job: Job, view: View) -> bytes:
        """A frame as PNG or JPEG; raises Problem."""
        result: bytes = await self._done("pictured", self._longest_decode, job, view)
        return result

    async def transcoded(self, source: Path, target: Path) -> None:
        """A Part-10 file written as explicit VR little endian; raises Problem."""
        await self._done("transcoded", self._longest_transcode, source, target)

    async def _done(self, name: str, longest: float, *arguments: object) -> Any:
        if self._asked >= self._workers * _WAITING_PER_WORKER:
            raise Problem(
                _UNAVAILABLE, "Too many images wait to be decoded.", headers={"retry-after": "1"}
            )
        self._asked += 1
        try:
            future = self._started().submit(perform, longest, name, arguments)
            return await asyncio.wrap_future(future)
        except TookTooLong:
            raise _failed(f"Decoding took longer than {longest:g} s and was given up") from None
        except ValueError as undecodable:
            raise Problem(_NOT_ACCEPTABLE, str(undecodable)) from None
        except (OSError, RuntimeError) as died:  # pebble's ProcessExpired, among others
            _LOG.warning("A decoding process failed.", job=name, error=type(died).__name__)
            raise _failed("The decoder did not survive this image") from None
        finally:
            self._asked -= 1

    def _started(self) -> "ProcessPool":
        """The pool; another in place of one that a dying process has taken with it."""
        if self._pool is None or not self._pool.active:
            self._pool = _pool(self._workers)
        return self._pool


def _pool(workers: int) -> "ProcessPool":
    try:
        from pebble import ProcessPool
    except ImportError:
        raise Problem(
            _NOT_ACCEPTABLE,
            "Pixels can't be decoded here: dimse-ingestion was installed without [pixels].",
        ) from None
    return ProcessPool(
        max_workers=workers,
        max_tasks=_JOBS_OF_A_PROCESS,
        initializer=_bounded,
        context=multiprocessing.get_context("spawn"),
    )


def _bounded() -> None:
    """In a new process: no more memory than is sane, and no threads beside its own."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    os.environ["OPENBLAS_NUM_THREADS"] = "1"


def perform(name: str, arguments: tuple[object, ...]) -> Any:
    """In a process of the pool: one of `decoding`'s functions; raises ValueError."""
    function: Callable[..., Any] = getattr(import_module("dimse_ingestion.dicomweb.decoding"), name)
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001 - codecs raise anything, and some of it can't be pickled
        known = type(error).__name__ == "Undecodable"
        why = str(error) if known else "Its pixel data is damaged, or of a kind unknown here."
        raise ValueError(f"The instance can't be decoded. {why}") from None


def _failed(why: str) -> Problem:
    return Problem(_FAILED, f"{why}: retrieve the instance as it is stored.")


def check_size(pixels: ImagePixels) -> None:
    """Raise Problem 413 for a frame that is too large to be decoded."""
    if pixels.native_bits > MOST_DECODED * 8 or pixels.pixels * 4 > MOST_DECODED:
        raise Problem(
            _TOO_LARGE,
            f"A frame of {pixels.rows} rows and {pixels.columns} columns is too large to be "
            "decoded here: retrieve it as it is stored.",
        )


def job(
    frame: bytes, presentation: list[Element], pixels: ImagePixels, transfer_syntax_uid: str
) -> Job:
    """What a process needs to know of a frame; long values of `presentation` are there.

    Raises Problem 406 when its elements can't be read as an image's.
    """
    is_encapsulated = transfer_syntax_uid not in uids.IDENTIFIER_SYNTAXES
    syntax = transfer_syntax_uid if is_encapsulated else uids.EXPLICIT_VR_LITTLE_ENDIAN
    try:
        written = encoded(presentation, uids.EXPLICIT_VR_LITTLE_ENDIAN)
    except ValueError:
        raise Problem(_NOT_ACCEPTABLE, "The instance's image attributes are damaged.") from None
    keyword = _KEYWORDS.get(pixels.vr, "PixelData")
    return Job(frame, written, syntax, is_encapsulated, keyword)
