"""Fates for messages: lost by their kind, or by a list that hypothesis draws."""

from collections import Counter
from collections.abc import Callable, Sequence

from dimse_ingestion.transport.carrier import Delivery
from dimse_ingestion.transport.protocol.codec import OPERATION

Fate = Callable[[Delivery], Sequence[float]]


def kind(message: Delivery) -> str:
    return message.headers.get(OPERATION, "")


def lose(lost: str, *, first: int) -> Fate:
    """Lose the first so many messages of a kind."""
    met = Counter[str]()

    def fate(message: Delivery) -> Sequence[float]:
        met[kind(message)] += 1
        return () if kind(message) == lost and met[lost] <= first else (0.0,)

    return fate


def drawn(fates: Sequence[Sequence[float]]) -> Fate:
    """The drawn fates in turn, then a good day."""
    left = list(fates)

    def fate(_: Delivery) -> Sequence[float]:
        return left.pop(0) if left else (0.0,)

    return fate
