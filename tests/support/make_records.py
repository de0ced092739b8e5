"""Plays faults of the simulator and keeps records: ``python -m tests.support.make_records``.

The records in ``tests/records`` are regression cases; make them anew only where the machine was
meant to decide otherwise. One that a user sent is put beside them as it is; with its name behind
the command it keeps its inputs, and gets the decisions of today.
"""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.conftest import VirtualLoop, silence, tone
from tests.support.memory_flux import memory_connector
from wyoming_flux.errors import WyomingFluxError
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.simulator.faults import parse
from wyoming_flux.utterance import Capture, Transcriber
from wyoming_flux.utterance.record import give, read
from wyoming_flux.utterance.recorder import Recorder

FOLDER: Final = Path(__file__).parents[1] / "records"
COMMAND: Final = silence(0.3) + tone(1.5) + silence(4.0)
TWO: Final = silence(0.3) + tone(1.0) + silence(0.6) + tone(1.0) + silence(3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """One utterance: what is said, how, and what goes wrong on each endpoint."""

    faults: Sequence[str] = ()
    fallback: bool = False
    audio: bytes = COMMAND
    turn: UtteranceSettings = field(default_factory=UtteranceSettings)
    flux: FluxSettings = field(default_factory=FluxSettings)
    stop: bool = False
    wav: bool = False
    chunk: float = 0.1
    """Seconds of audio that are sent at once."""
    script: Sequence[Any] = ("turn on the kitchen light", "and close the blinds")

    async def run(self, folder: Path) -> None:
        """Say it in real time, and keep the record in *folder*."""
        faults = [[parse(one) for one in self.faults], *([[]] if self.fallback else [])]
        connectors = [
            memory_connector(
                route="deepgram", profile="deepgram", script=list(self.script), faults=some
            )
            for some in faults
        ]
        capture = Capture(folder, audio=self.wav)
        async with Transcriber(connectors, self.flux, self.turn, capture=capture) as transcriber:
            speaking = asyncio.create_task(self._speak(transcriber))
            try:
                await transcriber.result()
            except WyomingFluxError:
                pass  # it is in the record
            finally:
                speaking.cancel()
                await asyncio.wait([speaking])
        capture.close()

    async def _speak(self, transcriber: Transcriber) -> None:
        size = int(self.flux.sample_rate * self.chunk) * 2
        for at in range(0, len(self.audio), size):
            await asyncio.sleep(self.chunk)
            await transcriber.send(self.audio[at : at + size])
        if self.stop:
            transcriber.end()


_EAGER: Final = FluxSettings(eager_eot_threshold=0.3)
PLAYS: Final = {
    "good": Play(flux=_EAGER),
    "held": Play(audio=TWO, turn=UtteranceSettings(hold=1000)),
    "stopped": Play(stop=True, audio=silence(0.3) + tone(1.5) + silence(0.1)),
    "nothing-said": Play(audio=silence(4.0), turn=UtteranceSettings(no_speech_timeout=2.0)),
    "dropped": Play(faults=("drop:after=1.2,connection=1",)),
    "stalled": Play(faults=("stall:after=1.0,connection=1",)),
    "refused": Play(faults=("refuse:status=503,connection=1",)),
    "empty-end": Play(faults=("end:kind=empty",)),
    "quota": Play(faults=("refuse:status=429,code=3036",)),
    "fallback": Play(faults=("refuse:status=429,code=3036",), fallback=True),
}


def keep(play: Play, folder: Path) -> Path:
    """Play one, and return its record in *folder*."""
    before = set(folder.glob("*.jsonl"))
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play.run(folder))
    (path,) = set(folder.glob("*.jsonl")) - before
    return path


class _Text:
    """Where a recorder's lines are collected."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, lines: str, pcm: Sequence[bytes], *, last: bool) -> bool:
        self.text += lines
        return True


def decide_anew(text: str) -> str:
    """Return a record with the same inputs and the decisions of today."""
    record, sink = read(text), _Text()
    machine = Recorder(
        record.utterance, record.flux, record.endpoints, 0.0, sink=sink, about=record.header
    )
    machine.events()
    for line in record.inputs:
        give(machine, line)
        machine.events()
        if line["in"] == "close":
            machine.close(line["t"])
    return sink.text


def main() -> None:
    """Make all of them, or decide those anew that are named."""
    for path in map(Path, sys.argv[1:]):
        path.write_text(decide_anew(path.read_text("utf-8")), "utf-8")
    if sys.argv[1:]:
        return
    FOLDER.mkdir(exist_ok=True)
    for name, play in PLAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            text = keep(play, Path(folder)).read_text("utf-8")
        (FOLDER / f"{name}.jsonl").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
