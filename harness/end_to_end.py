"""`make e2e`: the cluster, the tests on it, and the end of what was made for them.

A cluster that was there before is left as it is, and so is ours when it shall be kept.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import cluster
from harness.airgap import engine
from harness.airgap.cache import cache
from harness.commands import Say

TESTS = Path("tests/e2e")
_LITTLE_KEPT = ("-o", "tmp_path_retention_policy=failed")  # modalities under load write gigabytes
_PROJECT = Path(__file__).parent.parent


def run(kubeconfig: Path | None, keep: bool, options: Sequence[str], say: Say) -> int:
    """Run the tests with pytest's `options`; gives pytest's exit status."""
    with _cluster(kubeconfig, keep, say) as chosen:
        command = [sys.executable, "-m", "pytest", str(TESTS), *_LITTLE_KEPT]
        told = ["--kubeconfig", str(chosen.kubeconfig.resolve()), *options]
        return subprocess.run([*command, *told], cwd=_PROJECT, check=False).returncode


@contextmanager
def _cluster(kubeconfig: Path | None, keep: bool, say: Say) -> Iterator[cluster.Cluster]:
    if kubeconfig is not None:
        yield cluster.existing(kubeconfig)
        return
    engine_ran, was_there = engine.running(), cluster.answers(cluster.NAME)
    try:
        yield cluster.created(say=say)
    finally:
        if keep or was_there:
            say("the cluster is kept: make status tells where it is, make down ends it")
        else:
            ended(say, stop_engine=not engine_ran)


def ended(say: Say, name: str = cluster.NAME, *, stop_engine: bool = True) -> None:
    """Delete the cluster, and stop the engine if the harness started it."""
    if engine.running():
        cluster.deleted(name, say=say)
    if stop_engine:
        engine.stopped(cache(), say)
