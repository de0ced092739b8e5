"""Texts of turns, wake phrases and partial text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux.flux import TurnEvent, TurnInfo
from wyoming_flux.settings import DEFAULT_WAKE_PHRASES
from wyoming_flux.utterance import words
from wyoming_flux.utterance.partials import Partials
from wyoming_flux.utterance.tape import Tape
from wyoming_flux.utterance.texts import Change, Texts

RATE = 16000


def say(texts: Texts, text: str, at: float, *, end: bool = False, index: int = 0) -> Change:
    """Give a message to texts; *at* in seconds."""
    event = TurnEvent.END_OF_TURN if end else TurnEvent.UPDATE
    return texts.add(TurnInfo(event, index, at, text), int(at * RATE), None, at)


def heard(
    text: str, *, at: float = 0.8, end: bool = False, keyterms: tuple[str, ...] = ()
) -> Texts:
    """Return texts after one message."""
    texts = Texts(RATE, DEFAULT_WAKE_PHRASES, keyterms)
    say(texts, text, at, end=end)
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
    assert heard("okay", end=True).answer() == "okay"


def test_a_name_of_the_home_is_not_cut() -> None:
    """A wake phrase that begins a key term belongs to the sentence."""
    name = ("Nabu Casa remote",)
    assert heard("Nabu Casa remote on.", end=True, keyterms=name).answer() == "Nabu Casa remote on."
    assert heard("Nabu, lights on.", end=True, keyterms=name).answer() == "lights on."


def test_turns_end_in_any_order() -> None:
    """A late end brings its longer text; a turn whose end never comes ends after a while."""
    texts = Texts(RATE)
    say(texts, "turn on the", 1.0)
    say(texts, "", 1.5, index=1)
    assert texts.passed_at == 1.5
    change = say(texts, "turn on the light", 1.6, end=True)
    assert change.ended == "turn on the light"
    assert texts.passed_at is None
    say(texts, "and", 2.0, index=1)
    say(texts, "", 2.5, index=2)
    assert texts.end_passed() == "and"
    assert say(texts, "and the fan", 3.0, end=True, index=1) == Change(text=True)
    assert texts.answer() == "turn on the light and the fan"


def test_an_unknown_turn_is_nobodys() -> None:
    """A turn that was never begun says nothing; an end that says nothing ends nothing."""
    texts = Texts(RATE)
    assert say(texts, "stray", 1.0, end=True, index=99) == Change()
    assert say(texts, "", 1.0, end=True) == Change()
    say(texts, "turn", 2.0)
    assert say(texts, "", 2.5, end=True).ended == "turn"
    assert say(texts, "turn off", 3.0, end=True) == Change()
    assert texts.answer() == "turn"


def test_an_endless_text_is_bounded() -> None:
    """A stream that never stops cannot fill the memory."""
    texts = Texts(RATE)
    for index in range(30):
        say(texts, "x" * 100_000, 1.0, end=True, index=index)
    assert len(texts.answer()) <= 1_000_100


@given(st.lists(st.lists(st.sampled_from(["turn", "on", "off", "the"]), max_size=5), max_size=12))
def test_partial_text_is_only_appended(history: list[list[str]]) -> None:
    """What is shown only grows, by words on which two messages agree, and ends as long as it is."""
    partials = Partials()
    shown = ""
    for one in history:
        appended = partials.update(" ".join(one))
        assert appended == "" or bool(shown) == appended.startswith(" ")
        shown += appended
        assert len(shown.split()) <= max(len(past) for past in history)
    final = " ".join(history[-1]) if history else ""
    longest = len(shown.split())
    shown += partials.finish(final)
    assert len(shown.split()) == max(longest, len(final.split()))


def test_one_revised_word_does_not_stop_the_partial_text() -> None:
    """After a revision words go on behind those that were shown."""
    partials = Partials()
    said = ["turn of", "turn of the", "turn off the light", "turn off the light in", "turn off it."]
    shown = [partials.update(text) for text in said]
    assert shown == ["", "turn of", "", " the light", ""]
    assert partials.finish("Turn off the light in the hall.") == " in the hall."


@given(
    st.lists(st.binary(max_size=50), max_size=20),
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)), max_size=20),
)
def test_the_tape_gives_what_was_said(chunks: list[bytes], reads: list[tuple[int, int]]) -> None:
    """Whatever the chunks, reading anywhere gives the whole samples of the whole."""
    tape = Tape()
    whole = b"".join(chunks)
    for chunk in chunks:
        tape.append(chunk)
    assert tape.end == len(whole) // 2
    for at, samples in reads:
        at = min(at, tape.end)
        assert tape.read(at, samples) == whole[at * 2 : min(at + samples, tape.end) * 2]


def test_the_tape_forgets() -> None:
    """Audio that will not be replayed leaves the memory; asking for it is a fault of ours."""
    tape = Tape()
    tape.append(bytes(320_000))
    tape.forget(100_000)
    assert tape.start == 100_000
    assert tape.end == 160_000
    assert len(tape.read(100_000, 16_000)) == 32_000
    with pytest.raises(ValueError, match="forgotten"):
        tape.read(99_999, 1)
    tape.clear()
    assert tape.start == tape.end == 160_000
    tape.append(b"\x01\x00" * 10)
    assert tape.read(160_000, 20) == b"\x01\x00" * 10


@pytest.mark.parametrize(
    ("tail", "text", "rest"),
    [
        ("turn on the light", "Light. And close it.", "And close it."),
        ("turn on the light", "the light and more", "and more"),
        ("turn on the light", "on and on", "on and on"),
        ("a b c d e", "a b c d e f", "f"),
        ("a b c d e", "xx c d e f", "f"),
        ("yes it is on now and so on", "yes", "yes"),
        ("a b c d e", "xx e f", "xx e f"),
        ("turn on the light", "", ""),
    ],
)
def test_what_is_heard_twice_is_said_once(tail: str, text: str, rest: str) -> None:
    """Leading words that repeat the end of the turn before are dropped."""
    found, _ = words.repeated(words.plain(tail), text)
    assert words.after(text, found) == rest


@pytest.mark.parametrize(
    ("frozen", "text", "whole"),
    [
        ("one two three four", "three four five six", "one two three four five six"),
        ("one two three for", "two three four five", "one two three four five"),
        ("one two three four", "ee three four five", "one two three four five"),
        ("one two three four", "seven eight", None),
        ("one two three four", "four eight", None),
    ],
)
def test_a_long_text_goes_on_on_another_stream(frozen: str, text: str, whole: str | None) -> None:
    """Two texts of one turn are joined where they share words; half heard ones may differ."""
    found = words.joint(words.plain(frozen), text)
    if whole is None:
        assert found is None
    else:
        assert found is not None
        joined = f"{words.without_last(frozen, found[0])} {words.after(text, found[1])}"
        assert joined == whole


def test_a_word_that_was_half_heard_when_the_stream_broke_is_said_right() -> None:
    """What is kept of a long turn loses the words that the next stream hears otherwise."""
    texts = heard("one two three for")
    assert texts.restart(RATE, freeze=True, repeats=True) == "one two three for"
    say(texts, "two three four five", 2.0, end=True)
    assert texts.answer() == "one two three four five"
