"""The event parser and writer, judged by the wyoming library's own."""

import io
import itertools
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wyoming.audio import AudioChunk
from wyoming.event import Event, read_event, write_event

from wyoming_flux.server.events import MAX_DATA, MAX_HEADER, MAX_PAYLOAD, EventParser, encode

relaxed = settings(deadline=None)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
events = st.builds(
    Event,
    type=texts,
    data=st.dictionaries(texts, values, max_size=4),
    payload=st.none() | st.binary(min_size=1, max_size=300),
)


def wire(event: Event) -> bytes:
    """Return what the library writes."""
    out = io.BytesIO()
    write_event(event, out)
    return out.getvalue()


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut *data* at *cuts* (taken modulo its length)."""
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


def parse(pieces: list[bytes]) -> tuple[list[Event], str | None, bool]:
    """Return events, error and whether something is unfinished, after all pieces."""
    parser = EventParser()
    got = [event for piece in pieces for event in parser.feed(piece)]
    return got, str(parser.error) if parser.error else None, parser.pending


@relaxed
@given(events)
def test_writes_what_the_library_writes(event: Event) -> None:
    """encode() is byte for byte the library's writer."""
    assert encode(event) == wire(event)


@relaxed
@given(st.lists(events, max_size=5), st.lists(st.integers(0, 10**6), max_size=12))
def test_reads_what_the_library_reads(sent: list[Event], cuts: list[int]) -> None:
    """However the bytes are split, the events are those of the library's reader."""
    data = b"".join(wire(event) for event in sent)
    oracle = io.BytesIO(data)
    expected = [read_event(oracle) for _ in sent]
    assert parse(split(data, cuts)) == (expected, None, False)


@relaxed
@given(st.data())
def test_inline_data_and_data_section_are_merged(data: st.DataObject) -> None:
    """Data in the header and the data section become one, as the library merges them."""
    inline = data.draw(st.dictionaries(texts, values, max_size=3))
    section = data.draw(st.dictionaries(texts, values, max_size=3))
    body = json.dumps(section).encode()
    head = {"type": "x", "data": inline, "data_length": len(body), "payload_length": 0}
    raw = json.dumps(head).encode() + b"\n" + body
    assert parse([raw]) == ([read_event(io.BytesIO(raw))], None, False)


@relaxed
@given(
    st.lists(
        events.map(wire)
        | st.binary(max_size=60)
        | st.sampled_from([b"{}\n", b"\n", b'{"type":"a","data_length":2}\n[]', b'{"type":1}\n']),
        max_size=5,
    ),
    st.lists(st.integers(0, 10**6), max_size=12),
)
def test_any_bytes_split_anyhow_mean_the_same(parts: list[bytes], cuts: list[int]) -> None:
    """Garbage among events: same events, same error, same state, for every split; never a raise."""
    data = b"".join(parts)
    assert parse(split(data, cuts)) == parse([data]) == parse([bytes([byte]) for byte in data])


def head(**fields: Any) -> bytes:
    """Return a header line."""
    return json.dumps({"type": "x", **fields}).encode() + b"\n"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"GET / HTTP/1.1\r\n", "header line of a Wyoming event must be valid JSON"),
        (b"\n", "must be valid JSON"),
        (b"[]\n", "header line of a Wyoming event must be a JSON object"),
        (b"{}\n", "its type as a text"),
        (b'{"type": 7}\n', "its type as a text"),
        (b'{"type": "\xff"}\n', "valid UTF-8"),
        (b'{"type": "\\ud800"}\n', "valid UTF-8"),
        (b'{"type": "x", "n": NaN}\n', "valid JSON"),
        (b'{"type": "x", "n": -Infinity}\n', "valid JSON"),
        (b'{"type": "x", "n": ' + b"9" * 5000 + b"}\n", "valid JSON"),
        (b"[" * 60_000 + b"\n", "header line of a Wyoming event"),
        (head(data=[]), "data of a Wyoming event must be a JSON object"),
        (head(data="x"), "data of a Wyoming event must be a JSON object"),
        (head(data_length=2) + b"[]", "data of a Wyoming event must be a JSON object"),
        (head(data_length=2) + b"{]", "data of a Wyoming event must be valid JSON"),
        (head(data_length=MAX_DATA) + b"[" * MAX_DATA, "data of a Wyoming event is nested"),
        (head(data_length=200_000) + b'{"a":' * 40_000, "data of a Wyoming event"),
        (head(data_length=-1), "data_length of a Wyoming event must be a whole number"),
        (head(data_length=True), "data_length"),
        (head(data_length=1.0), "data_length"),
        (head(data_length="1"), "data_length"),
        (head(data_length=MAX_DATA + 1), "data_length"),
        (head(data_length=10**300), "data_length"),
        (head(payload_length=-(10**300)), "payload_length"),
        (head(payload_length=False), "payload_length"),
        (head(payload_length=[1]), "payload_length"),
        (head(payload_length=MAX_PAYLOAD + 1), "payload_length of a Wyoming event must be"),
        (b" " * (MAX_HEADER + 1), "must not exceed 65536 bytes"),
        (b" " * MAX_HEADER + b"{}\n", "must not exceed 65536 bytes"),
    ],
)
def test_says_what_is_wrong(raw: bytes, says: str) -> None:
    """Malformed input: one sentence, after the events before it, and nothing after it."""
    good = wire(Event("describe"))
    parser = EventParser()
    assert parser.feed(good + raw + good) == [Event("describe")]
    assert parser.error is not None
    assert says in str(parser.error)
    assert str(parser.error).endswith(".")
    assert parser.error.code == "invalid-event"
    assert not parser.pending
    assert parser.feed(good) == []


def test_accepts_what_is_just_within_the_limits() -> None:
    """The largest header, data and payload are read, at once and in small pieces."""
    line = head(data={"a": ""})
    line = line.replace(b'""', b'"' + b"x" * (MAX_HEADER + 1 - len(line)) + b'"')
    body = b'{"b": "' + b"y" * (MAX_DATA - 9) + b'"}'
    big = head(data_length=len(body), payload_length=MAX_PAYLOAD) + body + b"z" * MAX_PAYLOAD
    assert len(line) == MAX_HEADER + 1
    assert len(body) == MAX_DATA
    raw = line + big
    got, error, pending = parse([raw])
    assert (error, pending) == (None, False)
    assert [len(event.payload or b"") for event in got] == [0, MAX_PAYLOAD]
    assert parse([raw[at : at + 999] for at in range(0, len(raw), 999)])[0] == got


def test_null_fields_count_as_missing() -> None:
    """Null where nothing is meant, as other implementations write it."""
    raw = head(data=None, data_length=None, payload_length=None)
    assert parse([raw]) == ([Event("x", {}, None)], None, False)


def test_half_an_event_is_pending() -> None:
    """Pending tells whether the client owes the rest of an event."""
    raw = wire(AudioChunk(16000, 2, 1, b"\1\2" * 8, timestamp=3).event())
    parser = EventParser()
    assert not parser.pending
    for at in range(len(raw) - 1):
        assert parser.feed(raw[at : at + 1]) == []
        assert parser.pending
    assert len(parser.feed(raw[-1:])) == 1
    assert not parser.pending


def test_what_is_remembered_of_an_event_is_not_taken_for_the_next_one() -> None:
    """The same line in front of other data, and of none, means what follows it."""
    events = [
        Event("x", {"rate": rate, "width": 2}, payload)
        for rate, payload in [(1, b"a"), (1, b"b"), (2, b"a"), (1, b"a")]
    ]
    bare = head(data={"a": 1})
    raw = b"".join(wire(event) for event in events) + bare + head(data={"a": 2}) + bare
    said = [{"a": 1}, {"a": 2}, {"a": 1}]
    assert parse([raw])[0] == [*events, *(Event("x", data, None) for data in said)]


def test_what_cannot_be_written_becomes_a_question_mark() -> None:
    """Half a surrogate pair in a transcript does not cost the transcript."""
    assert EventParser().feed(encode(Event("transcript", {"text": "a\ud800b"}))) == [
        Event("transcript", {"text": "a?b"})
    ]


def test_memory_is_bounded_by_the_limits() -> None:
    """The largest event, sent in small pieces and never finished, holds no more than its size."""
    parser = EventParser()
    parser.feed(head(data_length=MAX_DATA, payload_length=MAX_PAYLOAD))
    piece = b"x" * 100
    tracemalloc.start()
    try:
        for _ in range((MAX_DATA + MAX_PAYLOAD) // len(piece)):
            assert parser.feed(piece) == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.5 * (MAX_DATA + MAX_PAYLOAD)
