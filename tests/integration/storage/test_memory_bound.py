"""How much memory a large object takes on its way into a bucket: measured in a process of its own.

The object is far larger than the growth that is allowed, so that one held whole would show.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.s3_server import s3_server, why_not

SIZE = 512 * 2**20
ALLOWED = 32 * 2**20
PUT_AND_MEASURE = """
import asyncio, sys
from pathlib import Path
from dimse_ingestion.settings import FolderBucket, S3Bucket
from dimse_ingestion.storage.factory import open_bucket

size, at_once = int(sys.argv[1]), int(sys.argv[2])
where = sys.argv[3:]
bucket = open_bucket(FolderBucket(Path(where[0])) if len(where) == 1 else S3Bucket(*where))

def memory(name):
    status = Path("/proc/self/status").read_text()
    return int(status.split(name + ":")[1].split()[0]) * 1024

async def chunks(size):
    length = 512 * 1024
    for _ in range(size // length):
        yield b"x" * length  # each its own memory, as chunks from the network are

async def main():
    await bucket.put("warm", chunks(2**20), 2**20)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is measured from here on
    before = memory("VmRSS")
    share = size // at_once
    await asyncio.gather(*(bucket.put(f"large{n}", chunks(share), share) for n in range(at_once)))
    print(memory("VmHWM") - before)

asyncio.run(main())
"""


def growth(at_once: int, *where: str) -> int:
    """Return the bytes by which the process has grown at its peak."""
    ran = subprocess.run(
        [sys.executable, "-c", PUT_AND_MEASURE, str(SIZE), str(at_once), *where],
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    grown = int(ran.stdout)
    assert grown > 0
    return grown


def test_a_folder_takes_a_large_object_in_little_memory(tmp_path: Path) -> None:
    assert growth(1, str(tmp_path)) < ALLOWED


@pytest.mark.parametrize("kind", ["versitygw", "minio"])
def test_s3_takes_a_large_object_in_little_memory(tmp_path: Path, kind: str) -> None:
    if absent := why_not(kind):
        pytest.skip(absent)
    with s3_server(kind, tmp_path) as server:
        server.make_bucket("space")
        where = ("space", "us-east-1", server.endpoint, server.access_key, server.secret_key)
        assert growth(1, *where) < ALLOWED


def test_sixteen_at_once_share_one_budget(tmp_path: Path) -> None:
    if absent := why_not("versitygw"):
        pytest.skip(absent)
    with s3_server("versitygw", tmp_path) as server:
        server.make_bucket("space")
        where = ("space", "us-east-1", server.endpoint, server.access_key, server.secret_key)
        assert growth(16, *where) < 3 * ALLOWED
