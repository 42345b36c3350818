"""Operation ids: UUIDv7 (RFC 9562 5.7), which sort by the time at which operations start."""

import secrets
import time
import uuid

_VERSION = 7 << 76
_VARIANT = 0b10 << 62


def new_operation_id() -> str:
    """Return a unique id: 48 bits of milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random_a, random_b = secrets.randbits(12), secrets.randbits(62)
    return str(uuid.UUID(int=milliseconds << 80 | _VERSION | random_a << 64 | _VARIANT | random_b))
