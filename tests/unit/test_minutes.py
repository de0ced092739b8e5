"""Minutes of the day: counted, limited, renewed, whatever the clock does."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from wyoming_flux.errors import InvalidSetting
from wyoming_flux.minutes import DailyMinutes, MinutesUsedUp


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now: datetime = datetime(2026, 11, 22, 23, 59, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock at one minute before midnight."""
    return Clock()


def test_counts_to_the_limit_and_is_renewed_at_midnight(clock: Clock) -> None:
    """Below the limit nothing happens; at it, quota; at 00:00 UTC all begins anew."""
    usage = DailyMinutes(2, option="Daily minutes", now=clock)
    usage.check()
    usage.add(60)
    usage.add(59.9)
    usage.check()
    usage.add(0.1)
    assert usage.seconds == pytest.approx(120)
    assert usage.exhausted
    with pytest.raises(MinutesUsedUp) as caught:
        usage.check()
    assert caught.value.code == "quota"
    assert str(caught.value) == (
        "The limit of 2 minutes a day (Daily minutes) is used up; it is renewed at 00:00 UTC."
    )
    clock.now += timedelta(minutes=1)
    usage.check()
    assert usage.seconds == 0


def test_the_day_is_utc_wherever_one_lives(clock: Clock) -> None:
    """A clock in another zone does not move midnight."""
    usage = DailyMinutes(1, now=clock)
    usage.add(100)
    clock.now = clock.now.astimezone(timezone(timedelta(hours=9)))
    assert usage.exhausted


def test_without_a_limit(clock: Clock) -> None:
    """Counts all the same, and never stops."""
    usage = DailyMinutes(None, now=clock)
    usage.add(1e9)
    usage.check()
    assert usage.seconds == 1e9
    assert not usage.exhausted


def test_by_default_the_day_is_today() -> None:
    """Without a clock of its own it takes the machine's."""
    assert DailyMinutes(1).snapshot()["day"] == datetime.now(UTC).date().isoformat()


def test_is_restored_on_the_same_day_only(clock: Clock) -> None:
    """A restart forgets nothing of today, and does not carry over yesterday."""
    usage = DailyMinutes(2, now=clock)
    usage.add(90.12345)
    saved = json.loads(json.dumps(usage.snapshot()))
    again = DailyMinutes(2, now=clock)
    again.add(1)
    again.restore(saved)
    assert again.seconds == pytest.approx(91.123)
    clock.now += timedelta(days=1)
    other = DailyMinutes(2, now=clock)
    other.restore(saved)
    assert other.seconds == 0


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"day": "2026-11-22"},
        {"day": 1, "seconds": 1},
        {"day": "2026-11-22", "seconds": "1"},
        {"day": "2026-11-22", "seconds": True},
        {"day": "2026-11-22", "seconds": -1},
        {"day": "2026-11-22", "seconds": 1e9},
        {"day": "2026-11-22", "seconds": float("inf")},
        {"day": "2026-11-22", "seconds": float("nan")},
        {"day": "2026-11-22", "seconds": 10**400},
        {"day": "today", "seconds": 1},
        {"day": "2026-13-01", "seconds": 1},
    ],
)
def test_nonsense_is_not_restored(saved: dict[str, Any], clock: Clock) -> None:
    """What snapshot() cannot have made is refused and changes nothing."""
    usage = DailyMinutes(2, now=clock)
    with pytest.raises(ValueError, match="not a count of seconds"):
        usage.restore(saved)
    assert usage.seconds == 0


def test_a_clock_that_was_yesterdays_at_boot(clock: Clock) -> None:
    """What was counted today still counts when the network has set the clock."""
    today = clock.now + timedelta(days=1)
    usage = DailyMinutes(2, now=clock)
    usage.restore({"day": today.date().isoformat(), "seconds": 100})
    usage.add(20)
    assert usage.exhausted
    clock.now = today
    assert usage.seconds == 120
    assert usage.snapshot() == {"day": today.date().isoformat(), "seconds": 120}


def test_a_step_back_over_midnight(clock: Clock) -> None:
    """The day never goes back: nobody gets a second allowance, neither then nor at midnight."""
    usage = DailyMinutes(2, now=clock)
    clock.now += timedelta(minutes=2)
    usage.add(120)
    for step in (-2, -10, 1, 13):
        clock.now += timedelta(minutes=step)
        assert usage.exhausted
    clock.now += timedelta(days=1)
    assert not usage.exhausted


def test_a_day_that_was_a_mistake_ends(clock: Clock) -> None:
    """A count saved by a clock that was years ahead blocks nobody for years, but for a day."""
    usage = DailyMinutes(2, now=clock)
    usage.restore({"day": "2099-01-01", "seconds": 120})
    for _ in range(23):
        assert usage.exhausted
        clock.now += timedelta(hours=1)
    assert usage.exhausted
    clock.now += timedelta(hours=1)
    assert not usage.exhausted
    assert usage.snapshot()["day"] == clock.now.date().isoformat()


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_the_first_and_the_last_day(clock: Clock, day: str) -> None:
    """Where calendars end nothing is raised."""
    usage = DailyMinutes(2, now=clock)
    usage.restore({"day": day, "seconds": 1})
    usage.add(1)
    assert usage.seconds == (2 if day > "2026" else 1)


@pytest.mark.parametrize("limit", [0, -1, float("inf"), float("nan"), True, "3"])
def test_a_limit_is_a_positive_number(limit: Any) -> None:
    """Anything else is refused, by the name of the setting."""
    with pytest.raises(InvalidSetting, match=r"^daily_minutes must be above 0") as caught:
        DailyMinutes(limit)
    assert caught.value.name == "daily_minutes"


def test_the_page_is_turned_by_whatever_comes_first(clock: Clock) -> None:
    """Saving and restoring after midnight count for the new day alone."""
    usage = DailyMinutes(2, now=clock)
    usage.add(60)
    clock.now += timedelta(minutes=1)
    assert usage.snapshot() == {"day": "2026-11-23", "seconds": 0}
    usage.add(60)
    clock.now += timedelta(days=1)
    usage.restore({"day": "2026-11-24", "seconds": 7})
    assert usage.seconds == 7


def test_the_first_moment_of_a_day(clock: Clock) -> None:
    """00:00 belongs to its day, and a count of nothing is one."""
    clock.now = clock.now.replace(hour=0, minute=0)
    usage = DailyMinutes(2, now=clock)
    usage.add(5)
    usage.restore({"day": "2026-11-22", "seconds": 0})
    assert usage.seconds == 5


def test_a_clock_that_steps_back_twice(clock: Clock) -> None:
    """Only a whole day without a break behind the counted one makes that one a mistake."""
    usage = DailyMinutes(2, now=clock)
    usage.add(120)
    noon = clock.now.replace(hour=12)
    for now in (-48, -25, 0, -13):
        clock.now = noon + timedelta(hours=now)
        assert usage.exhausted
