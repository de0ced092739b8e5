"""Words of two streams that heard some of the same: what was said twice, and where they join."""

import pytest

from wyoming_flux.utterance import words

SIX = "one two three four five six".split()


@pytest.mark.parametrize(
    ("text", "count", "rest"),
    [
        ("five six seven", 2, []),
        ("Five, six! Seven.", 2, []),
        ("six", 1, []),
        ("four five", 2, ["six"]),
        ("three", 1, ["four", "five", "six"]),
        ("two", 0, []),
        ("two three", 0, []),
        ("two three four", 3, ["five", "six"]),
        ("one two three four five six seven", 6, []),
        ("ive six seven", 0, []),
        ("hree four five six seven", 4, []),
        ("o hree four five six seven", 5, []),
        ("a o hree four five six seven", 0, []),
        ("seven", 0, []),
        ("", 0, []),
    ],
)
def test_leading_words_that_repeat(text: str, count: int, rest: list[str]) -> None:
    """A few words must be near the end, three may be anywhere, two in front may be half heard."""
    assert words.repeated(SIX, text) == (count, rest)


@pytest.mark.parametrize(
    ("text", "joint"),
    [
        ("five six seven", (0, 2)),
        ("Four five, six.", (0, 3)),
        ("ive six seven eight", None),
        ("our five six seven", (0, 3)),
        ("a hree our five six seven", (0, 5)),
        ("a b hree our five six seven", None),
        ("four five sixty", (1, 2)),
        ("three four fife sixty", (2, 2)),
        ("two three fore fife sixty", (3, 2)),
        ("one two tree fore fife sixty", None),
        ("to three four fife sixty", (2, 3)),
        ("six seven", None),
        ("", None),
    ],
)
def test_where_two_texts_join(text: str, joint: tuple[int, int] | None) -> None:
    """Two words must agree; three at the end of one and at the start of the other may be wrong."""
    assert words.joint(SIX, text) == joint


def test_the_longest_agreement_joins() -> None:
    """What agrees further counts, though fewer words would agree sooner."""
    tail = "on and on and on".split()
    assert words.joint(tail, "on and on and off") == (1, 4)


@pytest.mark.parametrize(
    ("count", "left"), [(0, "One, two three"), (1, "One, two"), (3, ""), (4, "One, two three")]
)
def test_without_the_last_words(count: int, left: str) -> None:
    """A text has so many words, or is left as it is."""
    assert words.without_last("One, two three", count) == left
