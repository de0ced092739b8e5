"""Key terms draw guesses to them by their sound, and leave alone what sounds different."""

from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux.simulator.bias import KeytermBias

SOUNDS = {
    "living": "L IH V IH NG",
    "room": "R UW M",
    "light": "L AY T",
    "lied": "L AY D",
    "hard": "HH AA R D",
    "law": "L AO",
    "did": "D IH D",
    "turn": "T ER N",
    "on": "AA N",
    "off": "AO F",
}


def bias(*terms: str) -> KeytermBias:
    """Return a bias with the little dictionary of this file."""
    return KeytermBias(terms, SOUNDS.get)


def test_the_guess_that_sounds_most_like_the_term_wins() -> None:
    """A guess further down is taken when it is nearest to a key term."""
    guesses = ["turn on living room hard", "turn on living room lied", "turn on living law did"]
    assert bias("Living Room Light").choose(guesses) == "turn on living room light"


def test_other_words_stay() -> None:
    """What is far from every key term, or unknown, is not touched."""
    assert bias("light").choose(["turn off"]) == "turn off"
    assert bias("zzz light").choose(["turn on zzz hard"]) == "turn on zzz hard"
    assert bias("light").choose(["turn on light"]) == "turn on light"
    assert bias("light").choose([]) == ""
    assert bias().choose(["turn on", "turn off"]) == "turn on"


@given(
    st.lists(st.lists(st.sampled_from([*SOUNDS, "unknown"]), max_size=6).map(" ".join), max_size=5),
    st.lists(st.lists(st.sampled_from(list(SOUNDS)), min_size=1, max_size=3).map(" ".join)),
)
def test_any_guesses_and_terms(guesses: list[str], terms: list[str]) -> None:
    """The text is made of words of the guesses and of key terms, and choosing is repeatable."""
    chooser = bias(*terms)
    text = chooser.choose(guesses)
    allowed = {word for one in (*guesses, *terms) for word in one.split()}
    assert set(text.split()) <= allowed
    assert chooser.choose(guesses) == text
