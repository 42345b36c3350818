"""Decoder processes that are killed while the pixels of a study are decompressed for a retrieve.

What must arrive are the pixels that were compressed: the other elements change with them.
"""

import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from pydicom import dcmread
from pydicom.uid import RLELossless
from pynetdicom import evt

from faults.retrieval import Sample, Workstation, faults
from faults.system import System
from harness.decoders import decoders
from harness.instances import made_instances
from harness.services import eventually

_INSTANCES = 3
_ROWS = _COLUMNS = 512
_FRAMES = 60
_KILLS = 3
_SAMPLED = 0.05
_BUSY = 0.6  # of the time between two samples
_LONGEST_WAIT = 120.0


def compressed_sample(folder: Path) -> Sample:
    """Return a study of long images in RLE, which the destinations take decompressed only."""
    paths, digests, study = [], {}, ""
    for made in made_instances(folder, _INSTANCES, _ROWS * _COLUMNS * _FRAMES * 2):
        image: Any = dcmread(made.path)
        image.Rows, image.Columns, image.NumberOfFrames = _ROWS, _COLUMNS, _FRAMES
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation = 15, 0
        digests[made.sop_instance_uid] = hashlib.sha256(image.PixelData).hexdigest()
        image.compress(RLELossless, generate_instance_uid=False)
        image.save_as(made.path)
        paths.append(made.path)
        study = made.study_instance_uid
    return Sample(paths, study, digests, _pixels)


def _pixels(event: evt.Event) -> bytes:
    pixels: bytes = event.dataset.PixelData
    return pixels


def _kill_decoders(system: System, workstation: Workstation) -> float:
    """Kill a decoder that is at work, of any replica, some times."""
    for _ in range(_KILLS):
        workstation.wait_for_instances(1)
        eventually(lambda: _busy_decoders(system), bool, _LONGEST_WAIT)[0].kill()
    return time.monotonic()


def _busy_decoders(system: System) -> list[psutil.Process]:
    """Return the decoders that have used a processor for the whole of a short time."""
    running = [each for replica in system.ingestion for each in decoders(replica.pid)]
    before = [_seconds(each) for each in running]
    threading.Event().wait(_SAMPLED)
    return [
        process
        for process, seconds in zip(running, before, strict=True)
        if _seconds(process) - seconds >= _BUSY * _SAMPLED
    ]


def _seconds(process: psutil.Process) -> float:
    try:
        return float(process.cpu_times().user)
    except psutil.NoSuchProcess:
        return 0.0


FAULTS = faults("decoders killed in mid-decode", _kill_decoders, sample_in=compressed_sample)
