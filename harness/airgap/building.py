"""The airgap's steps in their order: what is missing is built, what is there is taken."""

from pathlib import Path

from harness.airgap import pins
from harness.airgap.cache import cache
from harness.commands import Say, Unusable, succeeds


def ready(say: Say) -> str:  # noqa: ARG001
    """The node image, with everything a cluster of it needs."""
    if not succeeds("docker", "image", "inspect", pins.NODE_IMAGE):
        raise Unusable("the airgap is not built")
    return pins.NODE_IMAGE


def program(name: str, say: Say) -> Path:  # noqa: ARG001
    """One of the programs."""
    return cache().program(name)
