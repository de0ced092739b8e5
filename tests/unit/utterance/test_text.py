"""Texts of turns, wake phrases and partial text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux.flux import TurnEvent, TurnInfo
from wyoming_flux.settings import DEFAULT_WAKE_PHRASES
from wyoming_flux.utterance.buffer import AudioBuffer
from wyoming_flux.utterance.text import Partials, Texts
from wyoming_flux.utterance.timeline import Timeline


def heard(text: str, *, at: float = 0.8, end: bool = False, index: int = 0) -> Texts:
    """Return texts after one message."""
    texts = Texts(DEFAULT_WAKE_PHRASES)
    event = TurnEvent.END_OF_TURN if end else TurnEvent.UPDATE
    texts.add(TurnInfo(event, index, at, text), at, None)
    return texts


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Okay Nabu, turn on the light.", "turn on the light."),
        ("OK, Nabu! What time is it?", "What time is it?"),
        ("Alexa.", ""),
        ("hey jarvis", ""),
        ("Jarvis's lamp", "Jarvis's lamp"),
        ("Alexandra is here", "Alexandra is here"),
        ("turn on Alexa", "turn on Alexa"),
        ("hey", "hey"),
    ],
)
def test_wake_phrases(text: str, answer: str) -> None:
    """A whole wake phrase is cut off in front, in any case and punctuation; nothing else is."""
    texts = heard(text, end=True)
    assert texts.answer() == answer
    assert texts.any is bool(answer)


def test_a_late_wake_phrase_is_a_command() -> None:
    """What is said later than 1.5 s after the start is not a wake phrase."""
    assert heard("Alexa", at=4.0, end=True).answer() == "Alexa"


def test_an_open_wake_phrase_is_not_shown() -> None:
    """While a text may still become a wake phrase nothing of it is shown."""
    assert heard("okay").preview() == ""
    assert heard("okay nabu").preview() == ""
    assert heard("okay nabu turn").preview() == "turn"
    assert heard("okay turn").preview() == "okay turn"
    assert heard("okay", end=True).preview() == "okay"


def test_an_endless_text_is_bounded() -> None:
    """A stream that never stops cannot fill the memory."""
    texts = Texts()
    for index in range(30):
        texts.add(TurnInfo(TurnEvent.END_OF_TURN, index, 1.0, "x" * 100_000), 1.0, None)
    assert len(texts.answer()) <= 1_000_100
    for index in range(20_000):
        texts.add(TurnInfo(TurnEvent.END_OF_TURN, 100 + index, 1.0, ""), 1.0, None)
    assert len(texts._turns) <= 10_000


@given(st.lists(st.lists(st.sampled_from(["turn", "on", "off", "the"]), max_size=5), max_size=12))
def test_partial_text_is_only_appended(history: list[list[str]]) -> None:
    """What is shown only grows, has words of two agreeing messages, and completes what it can."""
    partials = Partials()
    shown = ""
    for words in history:
        appended = partials.update(" ".join(words))
        assert appended == "" or bool(shown) == appended.startswith(" ")
        shown += appended
    final = " ".join(history[-1]) if history else ""
    before = shown
    shown += partials.finish(final)
    assert shown.split() == shown.strip().split(" ") or not shown
    whole_words = final == before or final.startswith(f"{before} ") or not before
    assert (shown == final) if whole_words else (shown == before)


@given(
    st.lists(st.binary(max_size=50), max_size=20),
    st.lists(st.tuples(st.integers(2, 20), st.floats(0, 0.01)), max_size=20),
)
def test_the_buffer_gives_every_byte_in_order(
    chunks: list[bytes], takes: list[tuple[int, float]]
) -> None:
    """Whatever is appended, taken and rewound, the bytes are those of the whole, and even."""
    buffer = AudioBuffer(16000)
    whole = b"".join(chunks)
    for chunk in chunks:
        buffer.append(chunk)
    position = 0
    for size, back_to in takes:
        taken = buffer.take(size, partial=True)
        assert len(taken) % 2 == 0
        assert whole[position : position + len(taken)] == taken
        position += len(taken)
        if back_to < 0.005:
            buffer.rewind(back_to)
            position = min(int(back_to * 32000) // 2 * 2, len(whole))
    assert buffer.pending == (len(whole) - position) // 2 / 16000


def test_the_buffer_forgets() -> None:
    """Audio that will not be replayed leaves the memory; a rewind before it is clamped."""
    buffer = AudioBuffer(16000)
    buffer.append(bytes(320_000))
    while buffer.take(2560, partial=True):
        pass
    buffer.forget(9.0)
    buffer.rewind(0.0)
    assert buffer.pending == pytest.approx(1.0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 2)), max_size=30), st.floats(0, 1))
def test_places_on_a_socket_are_places_in_the_utterance(
    sends: list[tuple[bool, float]], part: float
) -> None:
    """Silence that was fed does not move the utterance on."""
    line = Timeline()
    line.restart(5.0)
    spoken = 0.0
    for voice, seconds in sends:
        if voice:
            line.send_audio(seconds)
            spoken += seconds
        else:
            line.send_silence(seconds)
    assert line.in_utterance(line.sent) == pytest.approx(5.0 + spoken)
    assert 5.0 - 1e-9 <= line.in_utterance(line.sent * part) <= 5.0 + spoken + 1e-9
