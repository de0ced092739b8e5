"""``wyoming-flux simulate``: options, sentences, exit codes, and a run from start to signal."""

import argparse
import asyncio
import importlib.util
import io
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wyoming_flux.cli import simulate
from wyoming_flux.simulator import local


def parsed(*words: str) -> argparse.Namespace:
    """Arguments as the command line gives them."""
    parser = argparse.ArgumentParser()
    simulate.add_options(parser)
    return parser.parse_args(words)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A small script."""
    path = tmp_path / "script.toml"
    path.write_text('[[turn]]\ntext = "good night"\n')
    return path


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--uri", "http://127.0.0.1:1"], "--uri must look like ws://127.0.0.1:8787"),
        (["--uri", "ws://127.0.0.1"], "--uri must look like"),
        (["--uri", "ws://127.0.0.1:x"], "--uri must look like"),
        (["--uri", "ws://127.0.0.1:99999"], "--uri must look like"),
        (["--uri", "ws://0.0.0.0:8787"], "others could reach 0.0.0.0"),
        (["--uri", "ws://example.org:8787"], "others could reach example.org"),
        (["--fault", "explode"], "unknown fault 'explode'"),
        (["--fault", "drop:after=soon"], "drop:after must be a number"),
        (["--ingest-rate", "-1"], "--ingest-rate must be between"),
        (["--ingest-rate", "nan"], "--ingest-rate must be between"),
        (["--script", "missing.toml"], "missing.toml"),
        (["--token-file", "missing"], "missing"),
        (["--recognizer", "local", "--script", "x"], "--script needs --recognizer script"),
        (["--max-streams", "0"], "--max-streams must be at least 1"),
        (["--profile", "cloudflare"], "--profile must be workers-ai, deepgram or a file"),
        (["--profile", "missing.json"], "missing.json"),
    ],
)
async def test_wrong_options_are_explained(
    capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    """One line on standard error, exit code 2."""
    if "--recognizer" not in words and "--script" not in words:
        words = ["--recognizer", "script", *words]
    assert await simulate.simulate(parsed(*words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("wyoming-flux simulate: ")
    assert sentence in err
    assert err.count("\n") == 1


async def test_without_the_ear_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra's name; without a word about it the script is heard."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    local._model.cache_clear()
    assert await simulate.simulate(parsed("--recognizer", "local")) == 2
    err = capsys.readouterr().err
    assert "pip install 'wyoming-flux[local]'" in err
    assert err.count("\n") == 1
    assert not local.local_is_installed()


async def test_a_taken_port_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1: the options were right."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        uri = f"ws://127.0.0.1:{taken.getsockname()[1]}"
        assert await simulate.simulate(parsed("--uri", uri, "--recognizer", "script")) == 1
    err = capsys.readouterr().err
    assert uri in err
    assert err.count("\n") == 1


async def test_an_empty_token_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It would let in nobody, or everybody."""
    path = tmp_path / "token"
    path.write_text("\n")
    words = ["--recognizer", "script", "--token-file", str(path)]
    assert await simulate.simulate(parsed(*words)) == 2
    assert "is empty" in capsys.readouterr().err


async def test_a_run(
    converse: Any,
    target: Any,
    spoken: Callable[..., bytes],
    script: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says where it listens, tells what happens, and ends with the signal."""
    token = tmp_path / "token"
    token.write_text("sesame\n")
    words = ["--uri", "ws://127.0.0.1:0", "--script", str(script), "--ingest-rate", "0"]
    words += ["--fault", "refuse:connection=2", "--token-file", str(token)]
    profile = tmp_path / "profile.json"
    profile.write_text('{"base": "workers-ai", "close_code": 1000}')
    words += ["--profile", str(profile), "--max-streams", "1"]
    lines: asyncio.Queue[str] = asyncio.Queue()
    output = io.StringIO()

    class Output(io.StringIO):
        def write(self, text: str) -> int:
            lines.put_nowait(text)
            return output.write(text)

    monkeypatch.setattr(sys, "stdout", Output())
    running = asyncio.create_task(simulate.simulate(parsed(*words)))
    async with asyncio.timeout(10):
        url = (await lines.get()).split()[-1]
    headers = {"Authorization": "Bearer sesame"}
    messages, code = await converse(
        url + target("workers-ai"),
        spoken(0.2, 1.0, 0.6),
        '{"type":"CloseStream"}',
        additional_headers=headers,
    )
    assert "good night" in [one.get("transcript") for one in messages]
    assert code == 1000
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(10):
        assert await running == 0
    said = output.getvalue()
    assert "#1 connected at /: sample_rate=16000" in said
    assert "EndOfTurn: good night" in said
    assert "sesame" not in said


def test_the_help_lists_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing that exists is hidden."""
    from wyoming_flux.simulator import faults

    with pytest.raises(SystemExit):
        parsed("--help")
    shown = capsys.readouterr().out
    assert all(name in shown for name in faults.KINDS)
