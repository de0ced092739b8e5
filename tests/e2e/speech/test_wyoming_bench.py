"""wyoming-bench, a Wyoming client of others, against our server in both its modes."""

import asyncio
import re
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wyoming_flux.simulator import Simulator

if TYPE_CHECKING:
    from tests.e2e.speech.conftest import Program

TEXT = "turn on the living room light"


async def test_wyoming_bench_in_both_modes(
    program: "Program", spoken: Callable[..., bytes], tmp_path: Path
) -> None:
    """It finds streaming, gets each answer in both modes, and not one word is wrong."""
    for name, rate in (("a", 16000), ("b", 8000)):
        (tmp_path / f"{name}.txt").write_text(TEXT)
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(spoken(0.2, 1.7, 0.5, rate=rate))
    async with Simulator(ingest_rate=0) as flux:
        port = (await program.serve(flux)).rpartition(":")[2]
        process = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).with_name("wyoming-bench")), "stt"),
            *("--corpus", str(tmp_path), "--rounds", "1", "--warmup", "0", "--timeout", "20"),
            f"127.0.0.1:{port}",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
    report = out.decode()
    assert process.returncode == 0, report
    assert "flux - non-streaming, streaming" in report
    assert re.findall(r"\[(\w+)\] ok=(\d+) fail=(\d+)", report) == [
        ("non_streaming", "2", "0"),
        ("streaming", "2", "0"),
    ]
    assert report.count("WER=0.0%") == 2
