"""Seeded changes of bytes: the same seed, service and index always give the same input.

So a finding is reproduced by three words, whatever else ran beside it.
"""

import random
from collections.abc import Callable, Sequence

_INTERESTING = (
    *(b"\x00", b"\xff", b"\x7f", b"\x80", b"\x00" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"),
    *(b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x01\x00"),
    *(b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"),
)
_LONGEST_RUN = 4096
UNCHANGED = 0.05
"""The share of recorded inputs that are sent as they are, so that others find something there."""

Change = Callable[[random.Random, bytes], bytes]


def random_of(seed: int, service: str, index: int) -> random.Random:
    """Return the source of all choices for one input."""
    return random.Random(f"{seed}:{service}:{index}")


def mutate(choices: random.Random, data: bytes, words: Sequence[bytes] = ()) -> bytes:
    """Return the data with one to eight changes; `words` are put in as they are."""
    changes = [*_CHANGES, *([_word_of(words)] * 3 if words else [])]
    for _ in range(choices.choice((1, 1, 1, 2, 3, 8))):
        data = choices.choice(changes)(choices, data)
    return data


def _place(choices: random.Random, data: bytes) -> int:
    return choices.randint(0, len(data))


def _span(choices: random.Random, data: bytes) -> slice:
    start = _place(choices, data)
    return slice(start, start + choices.choice((1, 2, 4, 8, 64, len(data))))


def _replace(data: bytes, span: slice, new: bytes) -> bytes:
    return data[: span.start] + new + data[span.stop :]


def _flip_bit(choices: random.Random, data: bytes) -> bytes:
    if not data:
        return b"\x00"
    at = choices.randrange(len(data))
    return _replace(data, slice(at, at + 1), bytes([data[at] ^ 1 << choices.randrange(8)]))


def _overwrite(choices: random.Random, data: bytes) -> bytes:
    at, new = _place(choices, data), choices.choice(_INTERESTING)
    return _replace(data, slice(at, at + len(new)), new)


def _insert(choices: random.Random, data: bytes) -> bytes:
    at = _place(choices, data)
    return _replace(data, slice(at, at), choices.choice(_INTERESTING))


def _insert_random(choices: random.Random, data: bytes) -> bytes:
    at = _place(choices, data)
    return _replace(data, slice(at, at), choices.randbytes(choices.choice((1, 2, 16, 300))))


def _insert_run(choices: random.Random, data: bytes) -> bytes:
    at, length = _place(choices, data), choices.choice((100, _LONGEST_RUN))
    return _replace(data, slice(at, at), choices.randbytes(1) * length)


def _delete(choices: random.Random, data: bytes) -> bytes:
    return _replace(data, _span(choices, data), b"")


def _duplicate(choices: random.Random, data: bytes) -> bytes:
    span = _span(choices, data)
    times = choices.choice((2, 2, 3, 50))
    return _replace(data, span, data[span][:_LONGEST_RUN] * times)


def _truncate(choices: random.Random, data: bytes) -> bytes:
    return data[: _place(choices, data)]


_CHANGES: tuple[Change, ...] = (
    *(_flip_bit, _flip_bit, _overwrite, _overwrite, _insert, _insert_random),
    *(_insert_run, _delete, _duplicate, _truncate),
)


def _word_of(words: Sequence[bytes]) -> Change:
    def put(choices: random.Random, data: bytes) -> bytes:
        return _replace(data, _span(choices, data), choices.choice(words))

    return put
