"""Turns from probabilities: what is decoded when, and what is told."""

import itertools
import struct
from array import array
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux.ear.process import EarStream
from wyoming_flux.ear.turns import CHUNK, CHUNK_BYTES, CHUNK_SAMPLES, Job, Turns, quietest
from wyoming_flux.flux.messages import TurnEvent, TurnInfo


def chunk(number: int, probability: float) -> bytes:
    """A chunk that tells its number, and whether it is voiced."""
    return struct.pack("<hh", number, probability >= 0.35) + bytes(CHUNK_BYTES - 4)


def numbers(pcm: bytes) -> str:
    """What the stand-in for a model hears: the numbers of voiced chunks."""
    heads = (struct.unpack_from("<hh", pcm, at) for at in range(0, len(pcm), CHUNK_BYTES))
    return " ".join(str(number) for number, voiced in heads if voiced)


class Played:
    """Plays probabilities to turns; a decoding takes *takes* chunks of audio."""

    def __init__(self, takes: Callable[[], int] = lambda: 0, *, idle: bool = True) -> None:
        self.turns = Turns()
        self.told: list[TurnInfo] = []
        self.jobs: list[Job] = []
        self.heard = 0
        self._takes = takes
        self._idle = idle
        self._left = 0
        self._job: Job | None = None

    def play(self, probabilities: Sequence[float]) -> None:
        for probability in probabilities:
            while self.turns.waiting:
                self._decode(hurry=True)
            self.turns.heard(chunk(self.heard, probability), probability)
            self.heard += 1
            self._decode()
            self._collect()

    def finish(self) -> None:
        while self.turns.waiting:
            self._decode(hurry=True)
        self.turns.finish(self.heard * CHUNK_SAMPLES)
        while not self.turns.done:
            self._decode(hurry=True)
        self._collect()

    def _decode(self, *, hurry: bool = False) -> None:
        if self._job is None:
            self._job = self.turns.job(idle=self._idle)
            if self._job is None:
                assert not hurry, "a text is waited for that nobody decodes"
                return
            self.jobs.append(self._job)
            self._left = self._takes()
        self._left -= 1
        if hurry or self._left < 0:
            job, self._job = self._job, None
            self.turns.decoded(job, numbers(job.pcm), self._left * CHUNK)
            self._collect()

    def _collect(self) -> None:
        self.told += self.turns.messages()

    @property
    def ends(self) -> list[TurnInfo]:
        return [turn for turn in self.told if turn.event is TurnEvent.END_OF_TURN]


def words(first: int, last: int) -> str:
    """The numbers from *first* to *last*."""
    return " ".join(str(number) for number in range(first, last + 1))


def test_sentence() -> None:
    """One sentence: its start, growing text, its end 0.5 s after the last voice, a true window."""
    played = Played()
    played.play([0.0] * 20 + [0.9] * 60 + [0.0] * 30)
    (end,) = played.ends
    assert end.transcript == words(20, 79)
    assert end.audio_window_end == pytest.approx(96 * CHUNK)
    assert end.first_word_start == pytest.approx(20 * CHUNK)
    events = [turn.event for turn in played.told if turn.transcript]
    assert events[0] is TurnEvent.START_OF_TURN
    assert set(events[1:-1]) == {TurnEvent.UPDATE}
    assert played.told[-1].turn_index == 1
    assert [turn.audio_window_end for turn in played.told[:2]] == [8 * CHUNK, 16 * CHUNK]
    # Decoded from 0.3 s before the first voice.
    assert len(played.jobs[0].pcm) == (9 + 16) * CHUNK_BYTES


def test_decodes_ahead_of_the_end() -> None:
    """The text is asked for after 192 ms of silence, and is what the turn ends with."""
    played = Played()
    played.play([0.9] * 40 + [0.0] * 6)
    assert played.jobs[-1].must
    asked = len(played.jobs)
    played.play([0.0] * 10)
    assert len(played.jobs) == asked
    assert played.ends


def test_pause_within_a_sentence() -> None:
    """Who goes on after less than half a second is one turn, and is decoded anew."""
    played = Played()
    played.play([0.9] * 20 + [0.0] * 15 + [0.9] * 20 + [0.0] * 16)
    (end,) = played.ends
    assert end.transcript == f"{words(0, 19)} {words(35, 54)}"


def test_text_that_is_late_holds_the_audio_back() -> None:
    """No window end runs ahead of a text that is still to come."""
    turns = Turns()
    for number in range(56):
        turns.heard(chunk(number, 0.9 if number < 40 else 0.0), 0.9 if number < 40 else 0.0)
    assert turns.waiting
    assert [turn.audio_window_end for turn in turns.messages()][-1] == 46 * CHUNK
    for _ in range(20):
        turns.tick()
    assert not turns.messages()
    job = turns.job(idle=False)
    assert job is not None
    turns.decoded(job, "late", 1.0)
    assert not turns.waiting
    assert [turn.event for turn in turns.messages()] == [
        TurnEvent.START_OF_TURN, TurnEvent.END_OF_TURN,
    ]  # fmt: skip


def test_noise_that_gives_no_text_is_no_turn() -> None:
    """What the detector takes for speech and the model does not is not told."""
    turns = Turns()
    for number in range(60):
        probability = 0.9 if number < 20 else 0.0
        turns.heard(chunk(number, probability), probability)
        if (job := turns.job(idle=True)) is not None:
            turns.decoded(job, "  ", 0.0)
    told = turns.messages()
    assert {turn.event for turn in told} == {TurnEvent.UPDATE}
    assert {turn.turn_index for turn in told} == {0}


def test_text_that_stays_is_told_with_the_windows_alone() -> None:
    """A decoding that changes nothing is no message of its own."""
    turns = Turns()
    for number in range(80):
        turns.heard(chunk(number, 0.9), 0.9)
        if (job := turns.job(idle=True)) is not None:
            turns.decoded(job, "the same", 0.0)
    told = [turn for turn in turns.messages() if turn.transcript]
    assert [round((turn.audio_window_end - 0.512) / CHUNK) for turn in told] == list(
        range(0, 65, 8)
    )


def test_one_loud_chunk_is_no_speech() -> None:
    """A knock of 32 ms begins nothing."""
    played = Played()
    played.play(([0.9] + [0.4] * 5) * 20)
    assert not played.jobs


def test_thresholds_of_speech() -> None:
    """Two chunks at 0.5 begin a turn; 0.35 keeps it going, less is a pause."""
    played = Played()
    played.play([0.5] * 2 + [0.8] * 5 + [0.35] * 40)
    assert not played.ends
    played.play([0.34] * 16)
    assert [turn.transcript for turn in played.ends] == [words(0, 46)]


def test_what_never_surely_was_speech_is_not_told() -> None:
    """Music and crowds may be speech for long, never surely: 160 ms of that make all of it text."""
    played = Played()
    played.play([0.79] * 80 + [0.8] * 4 + [0.0] * 20)
    assert {turn.transcript for turn in played.told} == {""}
    played.play([0.5] * 30 + [0.8] * 5 + [0.5] * 20 + [0.0] * 16)
    assert [turn.transcript for turn in played.ends] == [words(104, 158)]
    assert {turn.turn_index for turn in played.told} == {0}


def test_partial_text_waits_for_an_idle_model() -> None:
    """While the model is busy with others only ends are asked for."""
    played = Played(idle=False)
    played.play([0.9] * 100 + [0.0] * 16)
    assert [job.must for job in played.jobs] == [True]
    assert played.ends[0].transcript == words(0, 99)


def test_partial_text_every_half_second() -> None:
    """Of a fast model partial text is asked for after each 16 chunks of speech."""
    played = Played()
    played.play([0.9] * 66)
    assert [len(job.pcm) // CHUNK_BYTES for job in played.jobs] == [16, 32, 48, 64]


def test_slow_model_is_asked_less_often() -> None:
    """The next partial text comes after three times the last decoding."""
    turns = Turns()
    asked = []
    for number in range(130):
        turns.heard(chunk(number, 0.9), 0.9)
        if (job := turns.job(idle=True)) is not None:
            asked.append(number)
            turns.decoded(job, "word", 1.0)
    assert asked[1] - asked[0] == 94


def test_long_speech_is_cut() -> None:
    """Speech without a pause is decoded in pieces of at most 10 s, every chunk of it once."""
    played = Played()
    played.play([0.9] * 1500 + [0.0] * 16)
    assert max(len(job.pcm) for job in played.jobs) <= 10 * 32000
    pieces = [job.pcm for job in played.jobs if job.must]
    assert all(len(piece) >= 4.9 * 32000 for piece in pieces[:-1])
    assert played.ends[0].transcript == words(0, 1499)


def test_finish_decodes_what_was_sent() -> None:
    """The end of the stream gives an Update with all the words, up to its last sample."""
    played = Played()
    played.play([0.9] * 50)
    played.finish()
    last = played.told[-1]
    assert last.event is TurnEvent.UPDATE
    assert last.transcript == words(0, 49)
    assert last.audio_window_end == pytest.approx(50 * CHUNK)
    assert not played.ends


def test_tick_tells_what_a_paused_client_sent() -> None:
    """The window end of the last samples is told without further audio, and once."""
    turns = Turns()
    turns.heard(chunk(0, 0.0), 0.0)
    turns.tick()
    turns.tick()
    assert [turn.audio_window_end for turn in turns.messages()] == [CHUNK]


def test_answer_that_was_not_asked_for() -> None:
    """A text without its question is a fault of the caller."""
    with pytest.raises(ValueError, match="not asked"):
        Turns().decoded(Job(b"", True, 0, 0, 0), "text", 0.0)


def test_quietest_place() -> None:
    """The cut is in the middle of the quietest three chunks, never in the last half second."""
    loud = array("h", [9000] * CHUNK_SAMPLES).tobytes()
    quiet = array("h", [10] * CHUNK_SAMPLES).tobytes()
    assert quietest(loud * 20 + quiet * 3 + loud * 30, 5) == 21
    assert quietest(loud * 40 + quiet * 10, 5) <= 34


RUNS = st.lists(
    st.tuples(st.sampled_from((0.0, 0.2, 0.4, 0.5, 1.0)), st.integers(1, 400)), max_size=12
)


@given(runs=RUNS, takes=st.lists(st.integers(0, 60), min_size=1, max_size=20))
def test_any_speech_is_told_once_and_in_order(
    runs: list[tuple[float, int]], takes: list[int]
) -> None:
    """Whatever is said and however long decoding takes: bounds, order, and every chunk once."""
    probabilities = [probability for probability, length in runs for _ in range(length)]
    turn = iter(range(1 << 30))
    played = Played(lambda: takes[next(turn) % len(takes)])
    played.play(probabilities)
    played.finish()

    assert all(len(job.pcm) <= 11 * 32000 for job in played.jobs)
    windows = [turn.audio_window_end for turn in played.told]
    assert windows == sorted(windows)
    # But for a text that is waited for, something is told every quarter of a second.
    assert all(later - sooner <= 0.52 for sooner, later in itertools.pairwise(windows))
    assert windows[-1] == pytest.approx(len(probabilities) * CHUNK)
    indices = [turn.turn_index for turn in played.told]
    assert indices == sorted(indices)
    for index in set(indices):
        mine = [turn for turn in played.told if turn.turn_index == index and turn.transcript]
        assert all(turn.event is not TurnEvent.START_OF_TURN for turn in mine[1:])
        assert not mine or mine[0].event is TurnEvent.START_OF_TURN
        assert all(turn.event is not TurnEvent.END_OF_TURN for turn in mine[:-1])
    final = [*played.ends, *(turn for turn in played.told[-1:] if turn.transcript)]
    said = [int(word) for turn in final for word in turn.transcript.split()]
    assert said == sorted(set(said))
    ends = itertools.accumulate(length for _, length in runs)
    surely = ((end, length) for (p, length), end in zip(runs, ends, strict=True) if p == 1.0)
    spoken = {at for end, length in surely if length >= 5 for at in range(end - length, end)}
    assert spoken <= set(said)


class Level:
    """A stand-in for the detector: loud is speech."""

    def process_chunk(self, audio: bytes) -> float:
        return float(max(array("h", audio)) > 1000)

    def reset(self) -> None:
        raise AssertionError("one stream has one memory")


def told_of(pcm: bytes, cuts: Sequence[int], rate: int) -> list[TurnInfo]:
    """What a stream tells of audio that comes in these pieces."""
    stream = EarStream(rate, Level())
    told = []

    def hear() -> None:
        while stream.step():
            while (job := stream.turns.job(idle=True)) is not None:
                stream.turns.decoded(job, f"{len(job.pcm)} bytes", 0.0)
            told.extend(stream.turns.messages())

    for start, end in zip((0, *cuts), (*cuts, len(pcm) // 2), strict=True):
        stream.add(pcm[2 * start : 2 * end])
        hear()
    stream.end()
    hear()
    assert stream.turns.done
    return told


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@given(data=st.data())
def test_any_chunking_tells_the_same(rate: int, data: st.DataObject) -> None:
    """How the audio was cut changes nothing, at any sample rate."""
    lengths = data.draw(st.lists(st.integers(1, rate), max_size=6))
    pcm = b"".join(
        array("h", [8000 if at % 2 else 0] * length).tobytes() for at, length in enumerate(lengths)
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(pcm) // 2), max_size=8)))
    told = told_of(pcm, cuts, rate)
    assert told == told_of(pcm, [], rate)
    assert told[-1].audio_window_end == pytest.approx(len(pcm) / 2 / rate, abs=1e-4)
