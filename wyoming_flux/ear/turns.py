"""Turns on audio time from probabilities of speech: when to decode what, and what to tell.

Pure: no I/O, no clock, no thread. Audio comes in chunks of 32 ms at 16 kHz, each with its
probability of speech; what should be decoded goes out as a :class:`Job`, its text comes back, and
:meth:`Turns.messages` gives what Flux would have said. The thresholds and lengths are measured
(``reference/local-ear.md`` of 2026-11-24).

::

    silence --two chunks of speech--> turn --0.5 s of pause--> ended --its text is known--> told
                                       ^  | speech goes on                if it was surely speech
                                       +--+
"""

import math
from array import array
from collections import deque
from dataclasses import dataclass, field
from operator import mul
from typing import Final

from wyoming_flux.flux.messages import TurnEvent, TurnInfo

RATE: Final = 16000
CHUNK_SAMPLES: Final = 512
CHUNK_BYTES: Final = CHUNK_SAMPLES * 2
CHUNK: Final = CHUNK_SAMPLES / RATE
"""Seconds of a chunk: what the detector of speech takes at a time."""

_SPEECH_BEGINS: Final = 0.5
_SPEECH_GOES_ON: Final = 0.35
# Of 21 minutes of music and sounds of games without a voice the model made 16 texts, and 3 with
# these two; of 330 words and sentences, in noise too, no right text was lost.
_SPEECH_IS_SURE: Final = 0.8
_SURE_FOR: Final = 5
# All of these in chunks.
_ONSET: Final = 2
# The onset, and 0.3 s before it.
BEFORE: Final = 9 + _ONSET
_DECODE_AHEAD: Final = 6
_PAUSE: Final = 16
_PARTIAL: Final = 16
UPDATE_EVERY: Final = 8
_LONGEST: Final = int(10 / CHUNK)
_CUT_FROM: Final = _LONGEST // 2
_QUIET: Final = 3
_LEFT: Final = 16
_MAX_UNSETTLED: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Something to decode: linear16 mono at 16 kHz, at most some 10 s."""

    pcm: bytes
    must: bool
    """Whether a turn waits for it; the others, partial text, are worth an idle model only."""
    piece: int
    """Which piece of the turn it is while that is still spoken; -1: one that was cut off."""
    pauses: int
    """How often speech had gone on after a pause: later audio makes it no end any more."""
    at: int
    """The chunk until which it reaches."""


@dataclass(slots=True)
class Voice:
    """Whether somebody speaks, and for how long not any more."""

    speaking: bool = False
    silent: int = 0
    """Chunks since the last speech, while *speaking*."""
    _onset: int = 0
    _sure: int = 0

    def heard(self, probability: float) -> None:
        """Take the probability of speech in the next chunk."""
        if not self.speaking:
            self._onset = self._onset + 1 if probability >= _SPEECH_BEGINS else 0
            self._sure = self._sure if self._onset else 0
            self.speaking = self._onset >= _ONSET
        elif probability >= _SPEECH_GOES_ON:
            self.silent = 0
        else:
            self.silent += 1
        self._sure += probability >= _SPEECH_IS_SURE

    @property
    def sure(self) -> bool:
        """Whether it was surely speech for long enough to be a word."""
        return self._sure >= _SURE_FOR

    @property
    def over(self) -> bool:
        """Whether it is silent long enough for the end of a turn."""
        return self.silent >= _PAUSE


@dataclass(slots=True, eq=False)
class _Turn:
    began: float
    audio: bytearray
    """The piece that is being spoken."""
    partial_at: int
    pauses: int = 0
    piece: int = 0
    cut: deque[bytes] = field(default_factory=deque)
    """Pieces before it that are not decoded yet."""
    settled: list[str] = field(default_factory=list)
    ending: str | None = None
    """Text of the current piece, decoded within the pause that still lasts."""
    text: str = ""
    told: bool = False


class Turns:
    """The turns of one stream.

    After each input the owner takes :meth:`messages` and :meth:`job`. While :attr:`waiting`, audio
    is kept back: a window end must not run ahead of a text that is still to come.
    """

    def __init__(self) -> None:
        """Begin with silence."""
        self._heard = 0
        self._shown = 0
        self._index = 0
        self._before: deque[bytes] = deque(maxlen=BEFORE)
        self._voice = Voice()
        self._turn: _Turn | None = None
        self._in_work: Job | None = None
        self._messages: list[TurnInfo] = []
        self._end: float | None = None
        self.done = False
        """Whether all that was sent is decoded and told, after :meth:`finish`."""

    @property
    def waiting(self) -> bool:
        """Whether a text must come before more audio is taken."""
        turn = self._turn
        return turn is not None and (self._voice.over or len(turn.cut) >= _MAX_UNSETTLED)

    @property
    def voiced(self) -> bool:
        """Whether there is speech in the last chunk."""
        return self._voice.speaking and not self._voice.silent

    def heard(self, chunk: bytes, probability: float) -> None:
        """Take the next 512 samples and the probability of speech in them."""
        self._heard += 1
        paused = self._voice.silent > 0
        self._voice.heard(probability)
        if self._turn is not None:
            self._go_on(self._turn, chunk, resumed=paused and not self._voice.silent)
        else:
            self._before.append(chunk)
            if self._voice.speaking:
                self._begin()
        due = self._heard - self._shown >= UPDATE_EVERY and not self._owes_ending
        if due or self._voice.silent == _DECODE_AHEAD:
            self._tell(TurnEvent.UPDATE)

    def tick(self) -> None:
        """A quarter of a second has passed: tell a client that has paused what was heard of it."""
        if self._heard > self._shown and not self._owes_ending and not self.waiting:
            self._tell(TurnEvent.UPDATE)

    def finish(self, samples: int) -> None:
        """No audio follows; *samples* were sent in all. The last message is an ``Update``."""
        self._end = samples / RATE
        self._conclude()

    def job(self, *, idle: bool) -> Job | None:
        """Give what is to be decoded next, one at a time; partial text only for an idle model."""
        turn = self._turn
        if turn is None or self._in_work is not None:
            return None
        if turn.cut:
            self._in_work = Job(turn.cut[0], True, -1, turn.pauses, self._heard)
        elif self._owes_ending:
            self._in_work = Job(bytes(turn.audio), True, turn.piece, turn.pauses, self._heard)
        elif idle and not self._voice.silent and self._heard >= turn.partial_at:
            self._in_work = Job(bytes(turn.audio), False, turn.piece, turn.pauses, self._heard)
        return self._in_work

    def decoded(self, job: Job, text: str, seconds: float) -> None:
        """Take the text of a job, which took *seconds* to decode."""
        turn = self._turn
        if turn is None or job is not self._in_work:
            raise ValueError("this was not asked for")
        self._in_work = None
        text = " ".join(text.split())
        turn.partial_at = job.at + max(_PARTIAL, math.ceil(3 * seconds / CHUNK))
        if turn.cut and job.pcm is turn.cut[0]:
            turn.cut.popleft()
            turn.settled.append(text)
        elif job.piece == turn.piece:
            if job.must and job.pauses == turn.pauses:
                turn.ending = text
            self._show(turn, text)
        self._conclude()

    def messages(self) -> list[TurnInfo]:
        """Take what is to be told, in order."""
        told, self._messages = self._messages, []
        return told

    @property
    def _owes_ending(self) -> bool:
        """Whether the text of a pause, or of the end of the stream, is not known yet."""
        pause = self._voice.silent >= _DECODE_AHEAD or self._end is not None
        return self._turn is not None and pause and self._turn.ending is None

    def _begin(self) -> None:
        began = (self._heard - _ONSET) * CHUNK_SAMPLES / RATE
        self._turn = _Turn(began, bytearray().join(self._before), self._heard - _ONSET + _PARTIAL)
        self._before.clear()

    def _go_on(self, turn: _Turn, chunk: bytes, *, resumed: bool) -> None:
        turn.audio += chunk
        if resumed:
            turn.pauses += 1
            turn.ending = None
        if self._voice.over:
            self._conclude()
        elif not self._voice.silent and len(turn.audio) >= _LONGEST * CHUNK_BYTES:
            # Not within a pause: of mere silence the model makes a word.
            place = quietest(bytes(turn.audio), _CUT_FROM) * CHUNK_BYTES
            turn.cut.append(bytes(turn.audio[:place]))
            del turn.audio[:place]
            turn.piece += 1
            turn.ending = None

    def _show(self, turn: _Turn, text: str) -> None:
        text = " ".join(part for part in (*turn.settled, text) if part)
        if not text or text == turn.text or not self._voice.sure:
            return
        turn.text = text
        self._tell(TurnEvent.UPDATE if turn.told else TurnEvent.START_OF_TURN)
        turn.told = True

    def _conclude(self) -> None:
        """End the turn if it is over and its text is known; then the stream, if that is over."""
        turn = self._turn
        if turn is not None:
            if turn.cut or turn.ending is None:
                return
            if self._voice.over:
                self._end_turn(turn)
            elif self._end is None:
                return
        if self._end is not None and not self.done:
            self._tell(TurnEvent.UPDATE)
            self.done = True

    def _end_turn(self, turn: _Turn) -> None:
        # Where nothing but noise was taken for speech, there was no turn.
        if turn.told:
            self._tell(TurnEvent.END_OF_TURN)
            self._index += 1
        for at in range(-BEFORE * CHUNK_BYTES, 0, CHUNK_BYTES):
            self._before.append(bytes(turn.audio[at : at + CHUNK_BYTES or None]))
        self._turn = None
        self._voice = Voice()

    def _tell(self, event: TurnEvent) -> None:
        self._shown = self._heard
        turn = self._turn
        window = self._shown * CHUNK_SAMPLES / RATE
        spoken = turn is not None and bool(turn.text)
        self._messages.append(
            TurnInfo(
                event=event,
                turn_index=self._index,
                audio_window_end=window if self._end is None else min(window, self._end),
                transcript=turn.text if turn is not None else "",
                first_word_start=turn.began if turn is not None and spoken else None,
            )
        )


def quietest(pcm: bytes, first: int) -> int:
    """Return the chunk, from *first* on, in the middle of the quietest 96 ms of linear16 audio.

    The last 0.5 s stay together: what is left must not be a scrap.
    """
    samples = array("h", pcm)
    loudness = [
        sum(map(mul, chunk, chunk))
        for chunk in (
            samples[at : at + CHUNK_SAMPLES]
            for at in range(first * CHUNK_SAMPLES, len(samples), CHUNK_SAMPLES)
        )
    ][:-_LEFT]
    places = range(max(1, len(loudness) - _QUIET + 1))
    best = min(places, key=lambda at: (sum(loudness[at : at + _QUIET]), at))
    return first + best + _QUIET // 2
