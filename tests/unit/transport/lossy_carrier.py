"""Delivery delays that drop messages by their kind, or follow a list that hypothesis draws."""

from collections import Counter
from collections.abc import Callable, Sequence

from dimse_ingestion.transport.carrier import Delivery
from dimse_ingestion.transport.protocol.codec import OPERATION

DeliveryDelays = Callable[[Delivery], Sequence[float]]


def kind(message: Delivery) -> str:
    return message.headers.get(OPERATION, "")


def drop(kind_to_drop: str, *, first: int) -> DeliveryDelays:
    """Drop the first messages of a kind."""
    seen = Counter[str]()

    def delivery_delays(message: Delivery) -> Sequence[float]:
        seen[kind(message)] += 1
        return () if kind(message) == kind_to_drop and seen[kind_to_drop] <= first else (0.0,)

    return delivery_delays


def delays_in_turn(fates: Sequence[Sequence[float]]) -> DeliveryDelays:
    """Apply the delays in turn, then deliver at once."""
    left = list(fates)

    def delivery_delays(_: Delivery) -> Sequence[float]:
        return left.pop(0) if left else (0.0,)

    return delivery_delays
