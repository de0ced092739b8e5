"""Minutes of the day: counted, limited, renewed, kept across restarts."""

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from wyoming_flux.errors import QuotaExceeded
from wyoming_flux.server import DailyMinutes, UsageFile
from wyoming_flux.server import usage as usage_module


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
    with pytest.raises(QuotaExceeded) as caught:
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
        {"day": "2026-11-22", "seconds": float("inf")},
        {"day": "2026-11-22", "seconds": float("nan")},
    ],
)
def test_nonsense_is_not_restored(saved: dict[str, Any], clock: Clock) -> None:
    """What snapshot() cannot have made is refused and changes nothing."""
    usage = DailyMinutes(2, now=clock)
    with pytest.raises(ValueError, match="not a count of seconds"):
        usage.restore(saved)
    assert usage.seconds == 0


@pytest.fixture
async def written(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Return an event that is set when the file was written, or could not be."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    really = usage_module._write

    def write(path: Path, saved: dict[str, Any]) -> None:
        try:
            really(path, saved)
        finally:
            loop.call_soon_threadsafe(event.set)

    monkeypatch.setattr(usage_module, "_write", write)
    return event


async def test_the_file_keeps_the_count(tmp_path: Path, clock: Clock) -> None:
    """Written at the end, read at the next start; its folder is made; nothing else is left."""
    path = tmp_path / "state" / "usage.json"
    usage = DailyMinutes(60, now=clock)
    async with UsageFile(usage, path):
        usage.add(42)
    assert [file.name for file in path.parent.iterdir()] == ["usage.json"]
    again = DailyMinutes(60, now=clock)
    async with UsageFile(again, path):
        assert again.seconds == 42


async def test_the_file_is_written_while_running(
    tmp_path: Path, clock: Clock, written: asyncio.Event
) -> None:
    """A crash loses no more than one interval; without change nothing is written."""
    path = tmp_path / "usage.json"
    usage = DailyMinutes(60, now=clock)
    async with UsageFile(usage, path, interval=0.01), asyncio.timeout(10):
        usage.add(1)
        await written.wait()
        assert json.loads(path.read_text()) == {"day": "2026-11-22", "seconds": 1}
        path.unlink()
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "[]", "\x00", '{"day": 1}', "[" * 100_000])
async def test_a_broken_file_is_no_reason_not_to_start(
    tmp_path: Path, clock: Clock, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named in a warning, and replaced at the next write."""
    path = tmp_path / "usage.json"
    path.write_text(content)
    usage = DailyMinutes(60, now=clock)
    async with UsageFile(usage, path):
        assert usage.seconds == 0
        usage.add(7)
    assert json.loads(path.read_text())["seconds"] == 7
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.message


async def test_a_file_that_cannot_be_written_is_said_once(
    tmp_path: Path, clock: Clock, written: asyncio.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning, no exception, no half-written file; counting goes on."""
    path = tmp_path / "taken"
    path.mkdir()
    usage = DailyMinutes(60, now=clock)
    async with UsageFile(usage, path, interval=0.01), asyncio.timeout(10):
        caplog.clear()
        usage.add(1)
        await written.wait()
        usage.add(1)
    assert len(caplog.records) == 1
    assert "cannot be kept" in caplog.text
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]
    assert usage.seconds == 2
