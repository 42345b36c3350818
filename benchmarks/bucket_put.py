"""PUT of objects into a bucket by several clients at once: what the bucket itself can do."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import obstore
from obstore.store import S3Store

from benchmarks.ct_image import pixels
from benchmarks.samples import Outcome
from benchmarks.sender import Load


def put_operation(bucket: S3Store, load: Load) -> Callable[[], Outcome]:
    """Return what puts a load's objects when called; obstore puts large ones in parts."""
    content = pixels(load.length)

    def put(_: int) -> float:
        started = time.perf_counter()
        obstore.put(bucket, f"{uuid4()}.dcm", content)
        return time.perf_counter() - started

    def put_all() -> Outcome:
        started, cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(load.associations) as clients:
            latencies = list(clients.map(put, range(load.total)))
        return Outcome(
            operations=load.total,
            octets=load.total * load.length,
            seconds=time.perf_counter() - started,
            latencies=latencies,
            cpu={"client": time.process_time() - cpu},
        )

    return put_all
