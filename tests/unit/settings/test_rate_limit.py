from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dimse_ingestion.settings import ConfigurationMistake, ProxySettings
from dimse_ingestion.settings.rate_limit import RateLimit, parse

BERLIN = "Europe/Berlin"
MEGA = 1_000_000


def at(text: str, zone: str = BERLIN, fold: int = 0) -> float:
    """Return the Unix time of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def rate(limit: str, local: str) -> int | None:
    return parse(limit).rate_at(at(local), BERLIN)


@pytest.mark.parametrize(
    ("text", "rate_at_noon"),
    [
        ("", None),
        ("10M", 10 * MEGA),
        ("512Ki", 512 * 1024),
        ("unlimited", None),
        ("13:00-14:00 10M", None),
        ("12:00-14:00 10M", 10 * MEGA),
        ("8:00-12:00 10M", None),
        ("12:00-13:00 unlimited, 08:00-18:00 10M", None),
        ("08:00-18:00 10M, 50M", 10 * MEGA),
        ("Tue 1M, Mon 2M", 2 * MEGA),
        ("Tue-Sun 1M, 3M", 3 * MEGA),
        ("sat-mon 12:00-24:00 4M", 4 * MEGA),
        ("00:00-24:00 5M", 5 * MEGA),
    ],
)
def test_the_first_entry_that_fits_counts(text: str, rate_at_noon: int | None) -> None:
    assert rate(text, "2026-03-02 12:00") == rate_at_noon  # a Monday


def test_hours_over_midnight_belong_to_the_day_of_their_start() -> None:
    night = "Fri 22:00-06:00 1M"
    assert rate(night, "2026-03-06 21:59") is None  # a Friday
    assert rate(night, "2026-03-06 22:00") == MEGA
    assert rate(night, "2026-03-07 05:59") == MEGA
    assert rate(night, "2026-03-07 06:00") is None
    assert rate(night, "2026-03-06 05:00") is None


def test_hours_follow_the_wall_clock_through_summer_time() -> None:
    """In Berlin, 02:00 becomes 03:00 on 2026-03-29, and 03:00 becomes 02:00 on 2026-10-25."""
    day = parse("08:00-18:00 1M")
    for winter_or_summer, hour in (("2026-03-28", 7), ("2026-03-29", 6), ("2026-10-25", 7)):
        start = datetime.fromisoformat(f"{winter_or_summer} {hour:02}:00").replace(tzinfo=UTC)
        assert day.rate_at(start.timestamp() - 1, BERLIN) is None
        assert day.rate_at(start.timestamp(), BERLIN) == MEGA
    repeated = parse("02:00-03:00 1M")
    within = [
        minute
        for minute in range(24 * 60)
        if repeated.rate_at(at("2026-10-25 00:00") + 60 * minute, BERLIN)
    ]
    assert within == list(range(120, 240))
    assert not any(
        repeated.rate_at(at("2026-03-29 00:00") + 60 * minute, BERLIN) for minute in range(23 * 60)
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("fast", "'fast' is no rate limit: give entries like 10M"),
        ("08:00-18:00", "is no rate limit"),
        ("10X", "'10X' is not a size"),
        ("1000", "'1000' is no rate: give at least 16384 bytes per second, or unlimited"),
        ("0", "give at least 16384"),
        ("Man-Fri 10M", "'Man' is no day: give Mon, Tue"),
        ("25:00-26:00 10M", "'25:00' is no time of day"),
        ("08:61-09:00 10M", "'08:61' is no time of day"),
        ("08:00-08:00 10M", "begins and ends at once"),
        ("99999999999999999999 ", "larger than any"),
        (", ".join(["1M"] * 65), "more than 64 entries"),
    ],
)
def test_a_mistake_is_refused_with_its_cure(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse(text)


def loaded(tmp_path: Path, text: str) -> ProxySettings:
    file = tmp_path / "proxy.yaml"
    file.write_text(f"natsUrl: nats:4222\n{text}\n")
    return ProxySettings.load(file)


@pytest.mark.parametrize(
    "value", ["1000000", "1M", '"1M"', "[1M]", "[Mon-Fri 1M, Sat-Sun 00:00-24:00 1M]"]
)
def test_the_file_has_a_number_a_text_or_a_list(tmp_path: Path, value: str) -> None:
    settings = loaded(tmp_path, f"natsRateLimit: {value}\nnatsRateLimitTimeZone: {BERLIN}")
    assert settings.nats_rate(at("2026-03-02 12:00")) == MEGA


def test_without_a_limit_there_is_none(tmp_path: Path) -> None:
    assert loaded(tmp_path, "").nats_rate() is None


def test_the_environment_has_the_same_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIMSE_NATS_URL", "nats:4222")
    monkeypatch.setenv("DIMSE_NATS_RATE_LIMIT", "Mon-Fri 08:00-18:00 1M, 2M")
    monkeypatch.setenv("DIMSE_NATS_RATE_LIMIT_TIME_ZONE", BERLIN)
    settings = ProxySettings.load()
    assert settings.nats_rate(at("2026-03-02 08:00")) == MEGA
    assert settings.nats_rate(at("2026-03-01 08:00")) == 2 * MEGA


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "../../etc/passwd", "''", "Europe"])
def test_an_unknown_time_zone_is_refused(tmp_path: Path, zone: str) -> None:
    with pytest.raises(ConfigurationMistake, match="is no time zone"):
        loaded(tmp_path, f"natsRateLimitTimeZone: {zone}")


def test_spaces_share_the_proxys_limit_or_have_their_own(tmp_path: Path) -> None:
    text = """
natsRateLimit: 10M
spaces:
- {aeTitle: A, natsSubjectRoot: A}
- {aeTitle: B, natsSubjectRoot: B, natsRateLimit: 1M}
- {aeTitle: C, natsSubjectRoot: C, natsRateLimit: unlimited}
- {aeTitle: D, natsSubjectRoot: D}
"""
    rates = [each.nats_rate() for each in loaded(tmp_path, text).storage_spaces]
    assert rates == [2_500_000, MEGA, None, 2_500_000]


def test_a_reload_takes_limit_and_time_zone_over(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "")
    other = loaded(tmp_path, f"natsRateLimit: 1M\nnatsRateLimitTimeZone: {BERLIN}")
    changed, fixed = settings.differences(other)
    assert changed == ["nats_rate_limit", "nats_rate_limit_time_zone"]
    assert fixed == []
    settings.take_over(other)
    assert settings.nats_rate() == MEGA


def test_an_empty_share_of_no_limit_is_none() -> None:
    assert RateLimit().divided(3) == RateLimit()
    assert parse("unlimited").divided(3) == parse("unlimited")
