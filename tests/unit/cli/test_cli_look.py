"""Capture, show and replay as a person types them."""

import shutil
import signal
import stat
from pathlib import Path

import pytest

from tests.support.make_records import FOLDER
from tests.unit.cli.conftest import ROOT, Run, Serve, Start
from wyoming_flux.simulator import Simulator

pytestmark = pytest.mark.slow

SAMPLE = ROOT / "samples" / "turn_on_the_living_room_light.wav"


@pytest.mark.parametrize("text_only", [False, True])
async def test_transcribe_show_and_replay(start: Start, tmp_path: Path, *, text_only: bool) -> None:
    """A recording is captured, shown from a file, and replayed to the same decisions."""
    more = ("--capture-text-only",) if text_only else ()
    async with Simulator(ingest_rate=0) as flux:
        said = await start(
            *("transcribe", str(SAMPLE), "--worker-url", flux.url, "--capture", "kept"), *more
        )
        result = await said.end()
    assert (result.code, result.out) == (0, "turn on the living room light\n"), result.err
    (record,) = (tmp_path / "kept").glob("*.jsonl")
    assert len(list((tmp_path / "kept").glob("*.wav"))) == (0 if text_only else 1)
    replayed = await (await start("replay", str(record))).end()
    assert replayed.code == 0, replayed.out
    shown = await (await start("show", str(record), "--output", "page.html")).end()
    assert (shown.code, shown.out) == (0, "page.html\n"), shown.err
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "turn on the living room light" in page
    assert ("data:audio/wav" in page) is not text_only
    folder = await (await start("show", "kept", "--output", "pages")).end()
    assert folder.code == 0, folder.err
    assert f"{record.stem}.html" in (tmp_path / "pages" / "index.html").read_text("utf-8")
    assert (tmp_path / "pages" / f"{record.stem}.html").exists()


async def test_serve_keeps_what_satellites_say(
    serve: Serve, run: Run, flux: Simulator, tmp_path: Path
) -> None:
    """Each utterance of a server is there after its end, and decided the same once more."""
    process, uri = await serve(flux.url, "--capture", "kept")
    for _ in range(2):
        assert (await run("transcribe", str(SAMPLE), "--via", uri, "--fast")).code == 0
    assert (await process.end(signal.SIGTERM)).code == 0
    records = sorted(map(str, (tmp_path / "kept").glob("*.jsonl")))
    assert len(records) == len(list((tmp_path / "kept").glob("*.wav"))) == 2
    replayed = await run("replay", *records)
    assert (replayed.code, replayed.out.count("the same")) == (0, 2)


async def test_show_opens_the_browser(run: Run, tmp_path: Path) -> None:
    """Without --output the browser gets the page as a file; where there is none, that is told."""
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o700)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    more = {"BROWSER": f"{browser} %s", "TMPDIR": str(temporary)}
    shown = await run("show", str(FOLDER / "good.jsonl"), **more)
    assert shown.code == 0, shown.err
    page = Path(shown.out.strip())
    assert "turn on the kitchen light" in page.read_text("utf-8")
    assert stat.S_IMODE(page.parent.stat().st_mode) == 0o700
    assert opened.read_text() == f"{page.as_uri()}\n"
    none = await run("show", str(FOLDER), BROWSER="", PATH="", TMPDIR=str(temporary))
    assert (none.code, none.out[-11:]) == (1, "index.html\n")
    assert "no browser" in none.err


async def test_replay_tells_a_difference(start: Start, tmp_path: Path) -> None:
    """A record that the program decides otherwise today gives exit code 1 and both decisions."""
    text = (FOLDER / "good.jsonl").read_text("utf-8")
    (tmp_path / "changed.jsonl").write_text(
        text.replace('"trigger":"end-of-turn"', '"trigger":"no-audio"', 1)
    )
    shutil.copy(FOLDER / "held.jsonl", tmp_path)
    result = await (await start("replay", "held.jsonl", "changed.jsonl")).end()
    assert result.code == 1
    assert "held.jsonl: the same" in result.out
    assert "changed.jsonl: 1 decisions differ" in result.out
    assert '"trigger": "no-audio"' in result.out
    assert '"trigger": "end-of-turn"' in result.out


@pytest.mark.parametrize("command", ["show", "replay"])
async def test_what_is_no_record(start: Start, tmp_path: Path, command: str) -> None:
    """Another file, and one that is not there, are told in a sentence."""
    (tmp_path / "other.txt").write_bytes(b"\xff\x00")
    for name, said in (("other.txt", "no record"), ("missing.jsonl", "No such file")):
        result = await (await start(command, name)).end()
        assert result.code == 1
        assert said in result.err
        assert "Traceback" not in result.err
