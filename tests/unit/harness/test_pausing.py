import subprocess
import sys
import time
from pathlib import Path

from harness.pausing import pause, resume

COUNTING = """
import itertools, sys, threading
def count():
    for number in itertools.count():
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
for _ in range(4):
    threading.Thread(target=count).start()
"""


def test_nothing_of_a_paused_process_runs_until_it_is_resumed(tmp_path: Path) -> None:
    written = tmp_path / "numbers"
    with written.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", COUNTING], stdout=output)
    try:
        while not written.stat().st_size:
            time.sleep(0.001)
        pause(process)
        size = written.stat().st_size
        for _ in range(100):
            assert written.stat().st_size == size
        resume(process)
        while written.stat().st_size == size:
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait()
