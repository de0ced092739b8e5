"""``check --probe`` as a process, and its profile as the next simulator's."""

import asyncio
import json
import re
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_probe_makes_a_simulator(start, tmp_path: Path) -> None:
    """Three files; the profile is one that ``simulate`` takes; a second run spoils nothing."""
    lag = {"base": "workers-ai", "window_lag": 0.4, "unknown_control": "close", "idle_timeout": 4}
    given = tmp_path / "given.json"
    given.write_text(json.dumps(lag), "utf-8")
    script = tmp_path / "script.toml"
    turn = '[[turn]]\ntext = "close the quillora door"\nconfidence = 0.85\n'
    script.write_text(turn + '[misheard]\nquillora = "garage"\n', "utf-8")

    async def simulate(profile: Path) -> str:
        simulator = await start(
            *("simulate", "--uri", "ws://127.0.0.1:0", "--script", str(script)),
            *("--profile", str(profile)),
        )
        line = (await simulator.process.stdout.readline()).decode()
        found = re.search(r"listening on (\S+)", line)
        assert found, line
        return found[1]

    at = ("--worker-url", await simulate(given), "--route", "workers-ai")
    refused = await (await start("check", "--probe", "out", *at)).end()
    assert refused.code == 2
    assert "add --yes" in refused.err
    assert not (tmp_path / "out").exists()
    process = await start("check", "--probe", "out", "--yes", *at)
    async with asyncio.timeout(200):
        out, err = await process.process.communicate()
    assert process.process.returncode == 0, err
    assert re.search(rb"at most 1\.\d minutes of audio to .*, about \$0\.0", err)
    assert (tmp_path / "out" / "summary.md").read_bytes() == out[:-1]
    assert b"closed with 1006 after 4.0 s" in out
    assert b"yes: 'close the garage door' without, 'close the quillora door' with" in out
    records = (tmp_path / "out" / "records.jsonl").read_text("utf-8")
    assert "127.0.0.1" not in records
    profile = json.loads((tmp_path / "out" / "profile.json").read_text("utf-8"))
    assert {name: profile[name] for name in lag} == {
        **lag,
        "window_lag": pytest.approx(0.4, abs=0.1),
        "idle_timeout": pytest.approx(4, abs=0.3),
    }
    assert await simulate(tmp_path / "out" / "profile.json")
    again = await (await start("check", "--probe", "out", "--yes", *at)).end()
    assert again.code == 2
    assert "another folder" in again.err
    assert (tmp_path / "out" / "records.jsonl").read_text("utf-8") == records
