"""What is heard: scripts as files, and audio that carries its own text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.coded import CodedRecognizer, speak
from wyoming_flux.simulator import Part, ScriptedTurn, script
from wyoming_flux.simulator.recognizer import FINISHED, UNFINISHED


def heard(audio: bytes, rate: int = 16000) -> CodedRecognizer:
    """A recognizer that heard all of this in 10 ms frames."""
    recognizer = CodedRecognizer()
    size = 2 * rate // 100
    for at in range(0, len(audio) - size + 1, size):
        recognizer.hear(audio[at : at + size])
    return recognizer


words = st.lists(
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12), max_size=6
)


@given(words, st.sampled_from([8000, 16000, 44100, 48000]))
def test_coded_audio_is_heard_as_it_was_spoken(words: list[str], rate: int) -> None:
    """Any words at any of Flux's rates."""
    text = " ".join(words)
    recognizer = heard(speak(text, sample_rate=rate), rate)
    expected = text.removesuffix("…").rstrip()
    assert recognizer.text == " ".join(expected.split())
    assert recognizer.confidence == (UNFINISHED if text.endswith("…") else FINISHED)


@given(st.integers(0, 3 * 4000 - 1), st.sampled_from(["cut", "twice", "shift"]))
def test_coded_audio_shows_damage(at: int, damage: str) -> None:
    """A word survives only unharmed; the others are not affected."""
    audio = speak("one two three")
    assert len(audio) == 3 * 8000
    at = at * 2
    broken = {
        "cut": audio[:at] + audio[at + 640 :],
        "twice": audio[: at + 640] + audio[at:],
        "shift": audio[:at] + b"\x01" + audio[at:],
    }[damage]
    found = heard(broken).text.split()
    hurt = {at // 8000, min(2, (at + 639) // 8000)}
    whole = [word for i, word in enumerate(("one", "two", "three")) if i not in hurt]
    if damage == "shift":
        whole = [word for i, word in enumerate(("one", "two", "three")) if i < at // 8000]
    assert [word for word in found if word in whole] == whole
    assert set(found) <= {"one", "two", "three"}


def test_coded_words_must_fit() -> None:
    """A word longer than its time cannot be spoken."""
    with pytest.raises(ValueError, match="too long"):
        speak("x" * 300)


def test_a_script_file() -> None:
    """All that it can say."""
    loaded = script.parse(
        """
        seconds_per_word = 0.5
        [[turn]]
        text = "one"
        [[turn]]
        text = ["two", "three"]
        interim = ["too", "tree"]
        unfinished = true
        [[turn]]
        text = "four"
        confidence = 0.6
        """
    )
    assert loaded.seconds_per_word == 0.5
    assert loaded.turns == (
        ScriptedTurn.of("one"),
        ScriptedTurn((Part("two", UNFINISHED, "too"), Part("three", UNFINISHED, "tree"))),
        ScriptedTurn((Part("four", 0.6),)),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "turn = 1",
        "turn = [1]",
        "[[turn]]",
        "[[turn]]\ntext = ''",
        "[[turn]]\ntext = []",
        "[[turn]]\ntext = 'a'\ninterim = ['a', 'b']",
        "[[turn]]\ntext = 'a'\nunfinished = 1",
        "[[turn]]\ntext = 'a'\nconfidence = 2",
        "[[turn]]\ntext = 'a'\nconfidence = true",
        "[[turn]]\ntext = 'a'\nspeed = 2",
        "seconds_per_word = 0\n[[turn]]\ntext = 'a'",
        "words = 0\n[[turn]]\ntext = 'a'",
        "misheard = 1\n[[turn]]\ntext = 'a'",
        "[[turn]]\ntext = 'a'\n[misheard]\na = ''",
        "[[turn]]\ntext = 'a'\n[misheard]\na = 1",
        "not toml",
    ],
)
def test_a_wrong_script_is_explained(tmp_path: Path, text: str) -> None:
    """One sentence, with the name of the file."""
    path = tmp_path / "night.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"^night\.toml: .+") as caught:
        script.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keyterms", "text"),
    [
        ((), "turn off the leaving room fan"),
        (("fan", "Living Room"), "turn off the living room fan"),
        (("living",), "turn off the leaving room fan"),
    ],
)
def test_a_key_term_has_an_effect(keyterms: tuple[str, ...], text: str) -> None:
    """What a script says is misheard is heard right where it is a key term, and only then."""
    loaded = script.parse(
        "[[turn]]\ntext = 'turn off the living room fan'\n"
        "[misheard]\n'living room' = 'leaving room'\nan = 'never'"
    )
    recognizer = script.ScriptRecognizer(loaded.turns, misheard=loaded.misheard, keyterms=keyterms)
    for frame in [b"\x00\x20" * 160] * 60 + [bytes(320)] * 20:
        recognizer.hear(frame)
    assert recognizer.text == text
