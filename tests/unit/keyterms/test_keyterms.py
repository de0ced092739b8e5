"""Key terms: many sources, one clean list that Flux never refuses."""

import unicodedata
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wyoming_flux.errors import InvalidSetting
from wyoming_flux.keyterms import (
    MAX_QUERY_BYTES,
    MAX_TOKENS,
    KeytermList,
    clean,
    merge,
    query_bytes,
    read_file,
    split,
    tokens,
)
from wyoming_flux.settings import FluxSettings

# JSON can hold lone surrogates, so they are among the characters.
texts = st.text(st.characters(), max_size=130) | st.text(
    "aAbBß \t\n\0\u200d\u202e\ud800", max_size=9
)
sources = st.lists(
    st.lists(texts | st.none() | st.integers() | st.binary(), max_size=130), max_size=4
)


def test_first_source_and_first_spelling_win() -> None:
    """Order is strength; case makes no difference, even where it changes the length."""
    found = merge(["Nabu", "kitchen"], ["KITCHEN", "Straße"], [], ["nabu", "STRASSE", "attic"])
    assert found == KeytermList(terms=("Nabu", "kitchen", "Straße", "attic"), cut=0)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("  kitchen \t light\n", "kitchen light"),
        ("kit\0chen\x1b", "kitchen"),
        ("\ufeffkitchen\u200b", "kitchen"),
        ("\u202ekitchen", "kitchen"),
        ("kitchen\u00a0light", "kitchen light"),
        ("kitchen\u2028light", "kitchen light"),
        ("kitchen\ud800", "kitchen"),
        ("क्‍ष", "क्‍ष"),
        ("C#", "C#"),
        ("AT&T; Müller, 50%", "AT&T; Müller, 50%"),
        (" \t\0 ", ""),
        ("\u200d \u200c", ""),
        ("", ""),
    ],
)
def test_clean(term: str, expected: str) -> None:
    """White space is collapsed, what cannot be seen is dropped, all else stays."""
    assert clean(term) == expected
    assert merge([term]).terms == ((expected,) if expected else ())


def test_what_is_no_string_is_ignored() -> None:
    """Events come from outside: no number, no null, no nested list becomes a term."""
    odd: list[object] = [None, 1, 2.5, True, b"bytes", ["nested"], {"a": 1}, "kitchen"]
    assert merge(odd, None, ["attic"]).terms == ("kitchen", "attic")
    assert merge(5, "living room").terms == ("living room",)  # type: ignore[arg-type]  # as JSON may


def test_a_term_that_is_too_long_is_left_out_alone() -> None:
    """100 characters are possible, 101 are not; the weaker terms after it stay."""
    found = merge(["a" * 101, "b" * 100, "A" * 101, "c"])
    assert found == KeytermList(terms=("b" * 100, "c"), cut=1)


def test_at_most_100_terms() -> None:
    """The strongest hundred; the rest is counted, without what was said twice."""
    terms = [f"t{number}" for number in range(130)]
    found = merge(terms[:60], terms[:60], terms[60:])
    assert found == KeytermList(terms=tuple(terms[:100]), cut=30)


def test_at_most_500_tokens() -> None:
    """Four words are six tokens: 83 such terms fit, and no weaker one slips in after the cut."""
    terms = [f"a b c {number}" for number in range(90)]
    found = merge(terms, ["z"])
    assert len(found.terms) == 83
    assert found.cut == 8
    assert sum(tokens(term) for term in found.terms) == 498


def test_at_most_4_kb_in_the_query() -> None:
    """Japanese takes nine bytes per character; what counts is what is sent."""
    terms = ["居間の照明" + "あ" * 20 + str(number) for number in range(50)]
    found = merge(terms)
    sent = sum(len("&keyterm=" + quote(term)) for term in found.terms)
    assert sent <= MAX_QUERY_BYTES
    assert sent + query_bytes(terms[len(found.terms)]) > MAX_QUERY_BYTES
    assert found.cut == 50 - len(found.terms)


@settings(deadline=None, max_examples=300)
@given(sources)
def test_limits_always_hold_and_flux_takes_the_result(given_sources: list[list[object]]) -> None:
    """Whatever comes: clean, different, within every limit, in order, and nothing uncounted."""
    found = merge(*given_sources)
    terms = found.terms
    FluxSettings(keyterms=terms)
    assert len(terms) <= 100
    assert sum(1.5 * len(term.split()) for term in terms) <= MAX_TOKENS
    assert sum(len("&keyterm=" + quote(term, safe="")) for term in terms) <= MAX_QUERY_BYTES
    assert len({term.casefold() for term in terms}) == len(terms)
    for term in terms:
        assert 1 <= len(term) <= 100
        assert term == " ".join(term.split())
        assert not any(unicodedata.category(one) in {"Cc", "Cs"} for one in term)
    everything = [
        clean(term) for source in given_sources for term in source if isinstance(term, str)
    ]
    places = [everything.index(term) for term in terms]
    assert places == sorted(places)
    assert found.cut == len({term.casefold() for term in everything if term}) - len(terms)


@settings(deadline=None)
@given(sources)
def test_merging_again_changes_nothing(given_sources: list[list[object]]) -> None:
    """Idempotent, and a weaker source that only repeats adds nothing."""
    terms = merge(*given_sources).terms
    assert merge(terms) == KeytermList(terms=terms, cut=0)
    assert merge(terms, reversed(terms)) == KeytermList(terms=terms, cut=0)


@settings(deadline=None)
@given(st.lists(st.text("abc ", max_size=20), max_size=80), st.lists(st.text("xyz", max_size=20)))
def test_a_weaker_source_never_displaces_a_stronger_one(
    first: list[str], second: list[str]
) -> None:
    """What the first source gives alone is what the result begins with."""
    alone = merge(first).terms
    assert merge(first, second).terms[: len(alone)] == alone


def test_file(tmp_path: Path) -> None:
    """One term per line; comments, blank lines, a byte order mark and Windows line ends."""
    file = tmp_path / "terms.txt"
    file.write_bytes("\ufeff# names\r\nNabu\r\n\r\n  living   room \n  # more\nC#\nMüller".encode())
    assert read_file(file) == ("Nabu", "living room", "C#", "Müller")
    assert read_file(str(file)) == read_file(file)


def test_empty_file(tmp_path: Path) -> None:
    """No terms are no error."""
    file = tmp_path / "terms.txt"
    file.touch()
    assert read_file(file) == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"one\ntwo\nth\xffree\n", "Line 3 "),
        (b"one\n" + b"x" * 101, "Line 2 "),
        ("Nabu\n".encode("utf-16"), "Line 1 "),
        (b"\n" * 300_000, "larger than 256 KiB"),
    ],
)
def test_file_that_is_wrong_names_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    """Which file, which line, what is wrong; as a setting, so that a form can show it."""
    file = tmp_path / "terms.txt"
    file.write_bytes(content)
    with pytest.raises(InvalidSetting) as raised:
        read_file(file)
    assert raised.value.name == "keyterms_file"
    assert said in str(raised.value)
    assert "terms.txt" in str(raised.value)


@pytest.mark.parametrize("name", ["missing.txt", ".", "a\0b"])
def test_file_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    """Missing, a folder, or no path at all: one kind of error."""
    with pytest.raises(InvalidSetting, match="cannot be read") as raised:
        read_file(tmp_path / name)
    assert raised.value.name == "keyterms_file"


@settings(deadline=None)
@given(content=st.binary(max_size=300) | texts.map(lambda text: text.encode("utf-8", "replace")))
def test_any_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """No bytes raise anything else, and what comes back is clean."""
    file = tmp_path_factory.mktemp("terms") / "terms.txt"
    file.write_bytes(content)
    try:
        terms = read_file(file)
    except InvalidSetting:
        return
    assert all(term and clean(term) == term and len(term) <= 100 for term in terms)


def test_a_list_in_one_field_is_taken_apart() -> None:
    """Commas and line breaks are between terms, blanks and full stops within."""
    typed = ["ecobee, nest,hue", "Nabu Casa\nSt. Ives", " , "]
    terms = [term.strip() for term in split(typed)]
    assert terms == ["ecobee", "nest", "hue", "Nabu Casa", "St. Ives"]
