"""The airgap's steps in their order: what is missing is built, what is there is taken.

Every step leaves what it built in the cache or in the engine's store, so that after an interruption
the next run begins where this one was cut off.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.airgap import engine, go_programs, images, machine, node_image, pins
from harness.airgap.cache import Cache, cache
from harness.airgap.progress import Progress
from harness.commands import Say

Step = tuple[str, Callable[[], object], Callable[[], bool]]
"""What is told, what is done, and whether it needs no doing."""


def ready(say: Say) -> str:
    """The node image, with everything a cluster of it needs built and an engine that answers.

    The first time takes minutes. Raises Unusable with what this machine lacks.
    """
    kept = cache()
    if not (engine.running() and images.there(pins.NODE_IMAGE)):
        machine.prepared(say)
        engine.started(kept, say)
    todo = [step for step in steps(kept) if not step[2]()]
    progress = Progress(len(todo), say)
    with ThreadPoolExecutor(max_workers=1) as beside:
        # debootstrap mostly waits for the disk and the mirror: it costs nothing beside a Go build
        debian = beside.submit(images.debian, kept) if todo else None
        for title, do, _ in todo:
            with progress.step(title):
                if title.startswith("image"):
                    assert debian is not None
                    debian.result()
                do()
    return pins.NODE_IMAGE


def steps(kept: Cache) -> list[Step]:
    """All steps, programs first: they take longest, and images are made of them."""
    programs = ("kind", "helm", "nats-server", "minio")
    return [
        (
            "building Kubernetes, etcd and CoreDNS",
            lambda: go_programs.node_programs(kept),
            lambda: _has(kept, go_programs.NODE_PROGRAMS) or images.there(pins.NODE_IMAGE),
        ),
        *(_program_step(kept, name) for name in programs),
        (
            "image of NATS",
            lambda: images.of_program(pins.NATS_IMAGE, kept.program("nats-server")),
            lambda: images.there(pins.NATS_IMAGE),
        ),
        (
            "image of MinIO",
            lambda: images.of_program(pins.MINIO_IMAGE, kept.program("minio"), pins.DEBIAN_IMAGE),
            lambda: images.there(pins.MINIO_IMAGE),
        ),
        (
            "image of the node",
            lambda: node_image.made(kept),
            lambda: images.there(pins.NODE_IMAGE),
        ),
    ]


def program(name: str, say: Say) -> Path:
    """kind, helm or kubectl, built unless it is there."""
    kept = cache()
    if kept.has(name):
        return kept.program(name)
    machine.prepared(say)
    say(f"building {name}")
    if name != "kubectl":
        return go_programs.installed(kept, name)
    go_programs.node_programs(kept)
    kept.program(name).symlink_to("kubernetes")
    return kept.program(name)


def _program_step(kept: Cache, name: str) -> Step:
    return f"building {name}", lambda: go_programs.installed(kept, name), lambda: kept.has(name)


def _has(kept: Cache, names: tuple[str, ...]) -> bool:
    return all(kept.has(name) for name in names)
