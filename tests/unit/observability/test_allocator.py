"""A process of several data sets at once does not return their memory and take it again."""

import os
import platform
import resource
import subprocess
import sys

import pytest

_SEVERAL_DATA_SETS = """
import resource, sys
from dimse_ingestion.observability.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

received = bytearray(131072)

def receive():
    contents = [[] for _ in range(8)]
    for _ in range(4):
        for each in contents:
            each.append(bytes(received))

receive()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    receive()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
_PAGES = 20 * 8 * 512 * 1024 // resource.getpagesize()
can_be_set = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the C library is not glibc: no mallopt"
)


def page_faults(choice: str, **environment: str) -> int:
    command = [sys.executable, "-c", _SEVERAL_DATA_SETS, choice]
    process = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return int(process.stdout)


@can_be_set
def test_memory_of_data_sets_is_used_again() -> None:
    assert page_faults("keep") < _PAGES // 20


@can_be_set
@pytest.mark.parametrize(
    "variable",
    [
        {"MALLOC_MMAP_THRESHOLD_": "65536"},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=65536"},
    ],
)
def test_a_setting_of_the_environment_is_left_alone(variable: dict[str, str]) -> None:
    assert page_faults("keep", **variable) > _PAGES // 4
