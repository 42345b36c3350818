"""A rate limit by the hours of a local clock, as a setting: `Mon-Fri 08:00-18:00 10M, 50M`.

Hours are those of the wall clock in a time zone, so that they follow summer time: an hour that is
skipped in spring is in no range, and one that is repeated in autumn is in its range twice. The
limit is kept by `transport.client.rate_limit`.
"""

import re
from dataclasses import dataclass
from datetime import datetime, time
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from dimse_ingestion.settings.types import parse_size

LOWEST_RATE = 16 * 1024
"""Bytes per second; with less, one piece of a data set would take minutes."""
_HIGHEST_RATE = 2**60
_MOST_ENTRIES = 64
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ENTRY = re.compile(
    r"(?:(?P<first_day>[a-z]{3})(?:-(?P<last_day>[a-z]{3}))?\s+)?"
    r"(?:(?P<start>[0-9]{1,2}:[0-9]{2})-(?P<end>[0-9]{1,2}:[0-9]{2})\s+)?"
    r"(?P<rate>[0-9][0-9a-z ]*|unlimited)",
    re.IGNORECASE,
)
_EXAMPLE = "give entries like 10M, or Mon-Fri 08:00-18:00 10M, several by comma"


@dataclass(frozen=True, slots=True)
class RateLimitHours:
    """A limit in bytes per second on some days, within some hours; None: no limit then.

    Hours whose end is not after their start go over midnight, and belong to the day of the start.
    """

    rate: int | None
    days: frozenset[int] = frozenset(range(7))
    """0 is Monday."""
    start: time = time.min
    end: time = time.min

    def contains(self, local: datetime) -> bool:
        """Return whether a local time is within the hours."""
        today, yesterday = local.weekday(), (local.weekday() - 1) % 7
        now = local.time()
        if self.start < self.end:
            return today in self.days and self.start <= now < self.end
        late, early = now >= self.start, now < self.end
        return (late and today in self.days) or (early and yesterday in self.days)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The hours with their limits; the first that contain a time decide, without any: no limit."""

    hours: tuple[RateLimitHours, ...] = ()

    def rate_at(self, when: float, time_zone: str) -> int | None:
        """Return the limit at a Unix time in bytes per second, or None."""
        if not self.hours:
            return None
        local = datetime.fromtimestamp(when, ZoneInfo(time_zone))
        return next((each.rate for each in self.hours if each.contains(local)), None)

    def divided(self, parts: int) -> "RateLimit":
        """Return an even share of the limit."""
        return RateLimit(
            tuple(
                RateLimitHours(each.rate and each.rate // parts, each.days, each.start, each.end)
                for each in self.hours
            )
        )


def parse(value: object) -> RateLimit:
    """Return the limit that a number, a text or a list of texts describes. Raises ValueError."""
    if isinstance(value, RateLimit):
        return value
    parts = value if isinstance(value, list | tuple) else str(value).split(",")
    texts = [str(part).strip() for part in parts]
    entries = tuple(_entry(text) for text in texts if text)
    if len(entries) > _MOST_ENTRIES:
        raise ValueError(f"it has more than {_MOST_ENTRIES} entries: join some of them.")
    return RateLimit(entries)


def _entry(text: str) -> RateLimitHours:
    if not (match := _ENTRY.fullmatch(text)):
        raise ValueError(f"{text!r} is no rate limit: {_EXAMPLE}.")
    days = _days(match["first_day"], match["last_day"])
    start, end = _time(match["start"] or "0:00"), _time(match["end"] or "24:00")
    if match["start"] and start == end and match["end"] != "24:00":
        raise ValueError(f"{text!r} begins and ends at once: leave its hours out for a whole day.")
    return RateLimitHours(_rate(match["rate"]), days, start, end)


def _days(first: str | None, last: str | None) -> frozenset[int]:
    """Return the days of a range, which may go over the end of the week."""
    if not first:
        return frozenset(range(7))
    begin = _day(first)
    length = (_day(last or first) - begin) % 7 + 1
    return frozenset((begin + number) % 7 for number in range(length))


def _day(name: str) -> int:
    if name.lower() not in _DAYS:
        raise ValueError(f"{name!r} is no day: give Mon, Tue, Wed, Thu, Fri, Sat or Sun.")
    return _DAYS.index(name.lower())


def _time(text: str) -> time:
    hours, minutes = map(int, text.split(":"))
    if (hours, minutes) == (24, 0):
        return time.min
    if hours > 23 or minutes > 59:
        raise ValueError(f"{text!r} is no time of day: give one from 00:00 to 24:00.")
    return time(hours, minutes)


def _rate(text: str) -> int | None:
    if text.lower() == "unlimited":
        return None
    rate = parse_size(text)
    if not isinstance(rate, int) or not LOWEST_RATE <= rate <= _HIGHEST_RATE:
        raise ValueError(
            f"{text!r} is no rate: give at least {LOWEST_RATE} bytes per second, or unlimited."
        )
    return rate


def _time_zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(
            f"{name!r} is no time zone: give a name like Europe/Berlin, or UTC."
        ) from None


NatsRateLimit = Annotated[RateLimit, NoDecode, BeforeValidator(parse)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
