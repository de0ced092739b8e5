"""The file that keeps the minutes of the day: across restarts, damage, full disks, no home."""

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from wyoming_flux.cli import minutes_file
from wyoming_flux.cli.minutes_file import MinutesFile
from wyoming_flux.minutes import DailyMinutes


@pytest.fixture
def clock() -> Callable[[], datetime]:
    """Return a clock that stands still."""
    return lambda: datetime(2026, 11, 22, 23, 59, tzinfo=UTC)


@pytest.fixture
async def written(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Return an event that is set when the file was written, or could not be."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    really = minutes_file._write

    def write(path: Path, saved: dict[str, Any]) -> None:
        try:
            really(path, saved)
        finally:
            loop.call_soon_threadsafe(event.set)

    monkeypatch.setattr(minutes_file, "_write", write)
    return event


async def test_the_file_keeps_the_count(tmp_path: Path, clock: Callable[[], datetime]) -> None:
    """Written at the end, read at the next start; its folder is made; nothing else is left."""
    path = tmp_path / "state" / "usage.json"
    usage = DailyMinutes(60, now=clock)
    async with MinutesFile(usage, path):
        usage.add(42)
    assert [file.name for file in path.parent.iterdir()] == ["usage.json"]
    again = DailyMinutes(60, now=clock)
    async with MinutesFile(again, path):
        assert again.seconds == 42


async def test_the_file_is_written_while_running(
    tmp_path: Path, clock: Callable[[], datetime], written: asyncio.Event
) -> None:
    """A crash loses no more than one interval; without change nothing is written."""
    path = tmp_path / "usage.json"
    usage = DailyMinutes(60, now=clock)
    async with MinutesFile(usage, path, interval=0.01), asyncio.timeout(10):
        usage.add(1)
        await written.wait()
        assert json.loads(path.read_text()) == {"day": "2026-11-22", "seconds": 1}
        path.unlink()
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        bytes(40),
        b"\xff\xfe",
        b'{"day": 1}',
        b'{"day": "2026-11-22", "sec',
        b'{"day": "2026-11-22", "seconds": 1' + b"0" * 400 + b"}",
        b"[" * 100_000,
    ],
)
async def test_a_broken_file_is_no_reason_not_to_start(
    tmp_path: Path, clock: Callable[[], datetime], content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named in a warning, and replaced at the next write."""
    path = tmp_path / "usage.json"
    path.write_bytes(content)
    usage = DailyMinutes(60, now=clock)
    async with MinutesFile(usage, path):
        assert usage.seconds == 0
        usage.add(7)
    assert json.loads(path.read_text())["seconds"] == 7
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.message


async def test_a_file_that_cannot_be_written_is_said_once(
    tmp_path: Path,
    clock: Callable[[], datetime],
    written: asyncio.Event,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A warning, no exception, no half-written file; counting goes on."""
    path = tmp_path / "taken"
    path.mkdir()
    usage = DailyMinutes(60, now=clock)
    async with MinutesFile(usage, path, interval=0.01), asyncio.timeout(10):
        caplog.clear()
        usage.add(1)
        await written.wait()
        usage.add(1)
    assert len(caplog.records) == 1
    assert "cannot be kept" in caplog.text
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]
    assert usage.seconds == 2


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the service's state, else the user's; one file for each port."""
    monkeypatch.setenv("STATE_DIRECTORY", "/state:/other")
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    path = minutes_file.path_for("tcp://0.0.0.0:10300")
    assert str(path) == "/state/minutes-tcp-0.0.0.0-10300.json"
    monkeypatch.delenv("STATE_DIRECTORY")
    path = minutes_file.path_for("unix:///run/x.sock")
    assert str(path) == "/xdg/wyoming-flux/minutes-unix-run-x.sock.json"


def test_without_a_home(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A container's user without name and HOME gets a warning that says what to do."""
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert minutes_file.path_for("tcp://0.0.0.0:10300") is None
    assert "XDG_STATE_HOME" in caplog.text
