"""The transport's times and sizes, in one place, so that a test can shrink them.

Seconds and bytes. Why each is what it is stands in `docs/transport.md`.
"""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
HEADROOM = 4 * KIB
"""Bytes of a payload left for headers, which count too."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds."""

    open_timeout: float = 2.0
    open_budget: float = 10.0
    silence: float = 1.0
    gone_after: float = 3.0
    lease: float = 20.0
    heartbeat: float = 5.0
    kept_result: float = 120.0
    first_retry: float = 0.1
    longest_retry: float = 3.0
    busy_retry: float = 0.25


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes."""

    chunk: int = 512 * KIB
    window: int = 4 * MIB
    grant_limit: int = 32 * MIB
    batch: int = 256 * KIB
    batches: int = 4
    """Batches of matches on the way at once."""


def chunk_size(sizes: Sizes, maximum_payload: int) -> int:
    """The longest DATA body that a connection carries."""
    return max(KIB, min(sizes.chunk, maximum_payload - HEADROOM))
