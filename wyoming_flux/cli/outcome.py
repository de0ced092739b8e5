"""What became of one file, and how it is shown: text, JSON, live words, times, progress."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final, TextIO

from wyoming_flux.utterance import Trigger

LONG: Final = 30.0
"""Seconds from which on a recording is worth a progress line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer to one file; what ``--json`` prints."""

    file: str
    text: str
    trigger: Trigger | None
    """Why the answer came then; behind ``--via`` as far as a client can tell."""
    missing: float = 0.0
    """Seconds of the recording that are not in the text."""
    audio_seconds: float
    """Audio sent, silence included."""
    connect_ms: float | None
    after_speech_ms: float | None
    """From the end of the last speech to the answer; None unless played in real time."""
    attempts: int
    endpoint: str | None = None
    """Who answered; None behind ``--via``."""
    faults: tuple[str, ...] = ()
    """What went wrong before, in order."""


class Display:
    """Shows one file's way on the terminal, and its end everywhere."""

    def __init__(
        self,
        name: str,
        *,
        as_json: bool,
        label: bool,
        verbose: bool,
        out: TextIO | None = None,
        err: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*label*: put the file's name in front, because there are several."""
        self._name = name
        self._as_json = as_json
        self._label = f"{name}: " if label else ""
        self._verbose = verbose
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._clock = clock
        self._began: float | None = None
        self._live = self._out.isatty() and not as_json and not verbose
        self._shown = ""
        self._progress_on = self._err.isatty() and not self._live and not verbose
        self._progress = ""
        self._length: float | None = None

    def begin(self, length: float | None) -> None:
        """The audio begins now."""
        self._began = self._clock()
        self._length = length

    def event(self, what: str) -> None:
        """Tell with ``--verbose`` what happens, and when."""
        if self._verbose:
            at = self._clock() - self._began if self._began is not None else 0.0
            print(f"{at:7.2f} s  {what}", file=self._err, flush=True)

    def partial(self, text: str) -> None:
        """Show words as they are understood; they are appended."""
        self.event(f"words so far: …{text}" if self._shown else f"words so far: {text}")
        if self._live:
            print(text if self._shown else self._label + text, end="", file=self._out, flush=True)
        self._shown += text

    def progress(self, seconds: float) -> None:
        """Show how far into a long recording we are."""
        if not self._progress_on or not self._length or self._length < LONG:
            return
        share = min(1.0, seconds / self._length)
        line = f"{self._label}{_clock(seconds)} of {_clock(self._length)} ({share:.0%})"
        if line != self._progress:
            self._progress = line
            print(f"\r{line}\x1b[K", end="", file=self._err, flush=True)

    def done(self, outcome: Outcome) -> None:
        """Print the answer."""
        self._clear()
        if self._as_json:
            print(json.dumps(_rounded(asdict(outcome)), ensure_ascii=False), file=self._out)
        elif self._live and self._shown == outcome.text:
            print(file=self._out)
        else:
            # What was shown early turned out otherwise: the truth goes on a line of its own.
            if self._live and self._shown:
                print(file=self._out)
            print(f"{self._label}{outcome.text}", file=self._out)
        self._out.flush()

    def failed(self, sentence: str, code: str) -> None:
        """Print what went wrong: a sentence for a person, and an object with ``--json``."""
        self._clear()
        if self._live and self._shown:
            print(file=self._out, flush=True)
        if self._as_json:
            fields = {"file": self._name, "text": None, "error": sentence, "code": code}
            print(json.dumps(fields, ensure_ascii=False), file=self._out, flush=True)
        print(f"wyoming-flux: {self._name}: {sentence}", file=self._err, flush=True)

    def _clear(self) -> None:
        if self._progress:
            print("\r\x1b[K", end="", file=self._err, flush=True)
            self._progress = ""


def _rounded(fields: dict[str, object]) -> dict[str, object]:
    return {k: round(v, 2) if isinstance(v, float) else v for k, v in fields.items()}


def _clock(seconds: float) -> str:
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
