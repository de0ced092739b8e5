"""What became of one file, and how it is shown: text, JSON, live words, times, progress."""

import json
import os
import sys
import time
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final, Literal, TextIO

from wyoming_flux.flux import Route
from wyoming_flux.utterance import Trigger

LONG: Final = 30.0
"""Seconds from which on a recording is worth a word on its price, and a progress line."""


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
        quiet: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*label*: put the file's name in front, because there are several.

        *quiet*: say the text and what went wrong, and nothing else.
        """
        self._name = name
        self._as_json = as_json
        self._label = f"{name}: " if label else ""
        self._verbose = verbose
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._clock = clock
        self._began: float | None = None
        self._quiet = quiet
        self._live = _can_move(self._out) and not (as_json or verbose or quiet)
        self._shown = ""
        self._progress_on = _can_move(self._err) and not (self._live or verbose or quiet)
        self._progress = ""
        self._length: float | None = None

    def price(self, seconds: float, route: Route) -> None:
        """Say before a long recording what it may cost, in dollars, and whose price that is."""
        if seconds >= LONG and not self._quiet:
            free = "" if route is Route.DEEPGRAM else "; about 14 minutes a day are free"
            self._say(
                f"{_clock(seconds)} of audio, about ${seconds / 60 * route.price:.2f} at"
                f" {route.billed_by}'s ${route.price:g} a minute{free}"
            )

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

    def progress(self, seconds: float, what: Literal["heard", "sent"]) -> None:
        """Show how far a long recording was heard; where nobody tells, how much of it was sent."""
        if not self._progress_on or not self._length or self._length < LONG:
            return
        share = min(1.0, seconds / self._length)
        far = f"{_clock(seconds)} of {_clock(self._length)} {what} ({int(share * 100)}%)"
        line = f"{self._label}{far}"
        if line != self._progress:
            self._progress = line
            print(f"\r{line}\x1b[K", end="", file=self._err, flush=True)

    def done(self, outcome: Outcome) -> None:
        """Print the answer."""
        self._clear()
        if self._as_json:
            print(json.dumps(_rounded(asdict(outcome)), ensure_ascii=False), file=self._out)
        elif self._live and self._shown == outcome.text:
            print(end="\n" if self._shown else "", file=self._out)
        else:
            # What was shown early turned out otherwise.
            self._take_back()
            print(f"{self._label}{outcome.text}", file=self._out)
        self._out.flush()
        if not outcome.text and not self._quiet:
            self._say("nothing was heard")

    def cut_off(self, seconds: float) -> None:
        """Say that the recording is shorter than its header tells."""
        self._say(f"it is cut off: {seconds:.1f} s that its header tells are not there")

    def given_up(self) -> None:
        """End the line that words or progress are in: somebody else writes next."""
        self._clear()
        if self._live and self._shown:
            print(file=self._out, flush=True)

    def failed(self, sentence: str, code: str) -> None:
        """Print what went wrong: a sentence for a person, and an object with ``--json``."""
        self.given_up()
        if self._as_json:
            fields = {"file": self._name, "text": None, "error": sentence, "code": code}
            print(json.dumps(fields, ensure_ascii=False), file=self._out, flush=True)
        self._say(sentence)

    def _say(self, sentence: str) -> None:
        print(f"wyoming-flux: {self._name}: {sentence}", file=self._err, flush=True)

    def _take_back(self) -> None:
        """Go back to where the early words began, and wipe them out."""
        if not (self._live and self._shown):
            return
        try:
            columns, lines = os.get_terminal_size(self._out.fileno())
        except (OSError, ValueError):
            columns, lines = 0, 0
        # A terminal that does not know its size says 0.
        up = _rows(self._label + self._shown, columns or 80) - 1
        if up < (lines or 24):
            print("\r" + (f"\x1b[{up}A" if up else "") + "\x1b[J", end="", file=self._out)
        else:
            # The beginning has left the screen: the whole text goes below.
            print(file=self._out)

    def _clear(self) -> None:
        if self._progress:
            print("\r\x1b[K", end="", file=self._err, flush=True)
            self._progress = ""


def _can_move(stream: TextIO) -> bool:
    """Tell whether this is a terminal on which something written can be written over."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _rows(text: str, columns: int) -> int:
    """Return how many rows of a terminal this text takes."""
    rows, at = 1, 0
    for character in text:
        width = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        width = 0 if unicodedata.combining(character) else width
        if at + width > columns:
            rows, at = rows + 1, 0
        at += width
    return rows


def _rounded(fields: dict[str, object]) -> dict[str, object]:
    return {k: round(v, 2) if isinstance(v, float) else v for k, v in fields.items()}


def _clock(seconds: float) -> str:
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
