"""One self-contained page for an utterance, and an index for a folder: no network, no library."""

import base64
import statistics
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from importlib import resources
from itertools import groupby
from typing import Any, Final

from . import picture
from .spent import spent
from .story import outcome, story
from .turn import Turn
from .whatif import OPEN, WhatIf, what_if

_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; media-src data:"
)
_HEADER: Final = 44
"""Bytes of the header that :mod:`wyoming_flux.utterance.capture` writes."""


def record_page(turn: Turn, wav: bytes | None = None) -> str:
    """Return the page of one utterance; *wav*: its recording, as it was captured."""
    answer = turn.answer
    text = answer.text if answer is not None else ""
    version = _shown(turn.record.header.get("version"))
    names = escape(", ".join(turn.record.endpoints))
    told = "".join(f"<p>{escape(one)}</p>" for one in story(turn) if one)
    parts = [
        f'<p class="soft">{_when(turn)} · wyoming-flux {version} · {names}</p>',
        f"<h1>{escape(text) or '(no text)'}</h1>",
        _badge(turn),
        f'<div class="story">{told}</div>',
        *_heard(turn, wav),
        "<h2>What happened when</h2>",
        _figure(picture.happened(turn), "Seconds since the utterance began; point at a shape."),
        *_spent(turn),
        *_what_if(turn),
        *_messages(turn),
    ]
    return _page(f"{text or outcome(turn)} – wyoming-flux", parts)


@dataclass(frozen=True, slots=True)
class Entry:
    """An utterance of the index, and where its page is."""

    turn: Turn
    link: str


def index_page(entries: Sequence[Entry], unreadable: Iterable[str] = ()) -> str:
    """Return the index of a folder, in the order given, with the distribution of times."""
    parts = [f"<h1>{len(entries)} utterances</h1>"]
    times = sorted(one.turn.after_word for one in entries if one.turn.after_word is not None)
    if times:
        parts += ["<h2>Seconds from the last word to the answer</h2>", _distribution(times)]
    rows = "".join(
        f'<tr><td><a href="{escape(one.link)}">{_when(one.turn)}</a></td>'
        f"<td>{_badge(one.turn)}</td>"
        f'<td class="number">{_seconds(one.turn.after_word)}</td><td>{_endpoint(one.turn)}</td>'
        f"<td>{escape(one.turn.answer.text if one.turn.answer else '')}</td></tr>"
        for one in entries
    )
    parts.append(
        '<h2>Newest first</h2><div class="table stack"><table><tr><th>Began</th><th>Outcome</th>'
        '<th class="number">After the last word</th><th>Endpoint</th><th>Text</th></tr>'
        f"{rows}</table></div>"
    )
    parts += [f'<p class="bad">{escape(one)}</p>' for one in unreadable]
    return _page("Utterances – wyoming-flux", parts)


def _page(title: str, parts: Iterable[str]) -> str:
    files = resources.files(__package__)
    style, script = (files.joinpath(one).read_text("utf-8") for one in ("style.css", "page.js"))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>\n"
        + "\n".join(parts)
        + f"\n</main><script>{script}</script></body></html>\n"
    )


def _heard(turn: Turn, wav: bytes | None) -> Iterator[str]:
    yield "<h2>What was heard</h2>"
    samples = None
    if wav is not None and len(wav) > _HEADER:
        samples = array("h", wav[_HEADER : len(wav) - len(wav) % 2])
        if struct.pack("=h", 1) != struct.pack("<h", 1):
            samples.byteswap()
        data = base64.b64encode(wav).decode()
        yield f'<audio controls preload="auto" src="data:audio/wav;base64,{data}"></audio>'
        yield (
            '<p class="soft keys">Space plays and pauses, the arrow keys move by a quarter of a'
            " second, a click on the picture or a word plays from there.</p>"
        )
    yield _figure(
        picture.heard(turn, samples),
        "Seconds of the client's audio. Blue: how sure Flux was that the turn was over; dashed:"
        " the threshold.",
    )
    buttons = "".join(
        f'<button type="button" data-start="{word.start:.3f}" data-end="{word.end:.3f}">'
        f"{escape(word.text)}</button>"
        for word in turn.words
    )
    if buttons and samples is not None:
        yield f'<p class="words">{buttons}</p>'


def _spent(turn: Turn) -> Iterator[str]:
    parts = spent(turn)
    if not parts:
        return
    total = sum(part.ticks for part in parts)
    kinds = [part.whose if part.whose != "wyoming-flux" else "ours" for part in parts]
    bar = "".join(
        f'<span class="{kind}" style="flex-grow:{part.ticks}" title="{part.name}"></span>'
        for part, kind in zip(parts, kinds, strict=True)
    )
    rows = "".join(
        f'<tr><td><span class="swatch {kind}"></span>{part.name}</td><td>{part.whose}</td>'
        f'<td class="number">{part.ms:.1f} ms</td></tr>'
        for part, kind in zip(parts, kinds, strict=True)
    )
    yield "<h2>Where the milliseconds went</h2>"
    yield f'<div class="bar">{bar}</div>'
    yield (
        f'<div class="table"><table><tr><th>From the last word on</th><th>Whose it is</th>'
        f'<th class="number">Time</th></tr>{rows}<tr class="present"><td>together</td><td></td>'
        f'<td class="number">{total / 10:.1f} ms</td></tr></table></div>'
    )


def _what_if(turn: Turn) -> Iterator[str]:
    if turn.answer is None or turn.answer.error is not None:
        return
    alike = [list(rows) for _, rows in groupby(what_if(turn), key=lambda one: one.result)]
    rows = "".join(_what_if_row(turn, some) for some in alike)
    yield "<h2>What if</h2>"
    yield (
        '<div class="table stack"><table><tr><th>With</th><th class="number">Answered</th>'
        f"<th>Because</th><th>Text</th><th>How sure this is</th></tr>{rows}</table></div>"
    )
    yield (
        '<p class="soft">The same program over the same record. Bold: as it was. What Flux would'
        " have said to audio that it never got is not in the record, so neither is a higher"
        " threshold or a longer time-out. Of a longer hold the page knows what it costs, and not"
        " whether you would have gone on: the client stopped once it had its answer.</p>"
    )


def _what_if_row(turn: Turn, alike: Sequence[WhatIf]) -> str:
    one = alike[0]
    kind = ' class="present"' if one.present else ""
    name = f"{one.setting} {', '.join(each.value for each in alike)}"
    begin = f"<tr{kind}><td>{name}</td>"
    if one.answer is None or one.at is None or turn.answered is None or turn.answer is None:
        return f"{begin}<td></td><td></td><td></td><td>{OPEN}</td></tr>"
    moved = one.at - turn.answered
    same = abs(moved) < 0.00005
    when = "as it was" if same else f"{moved:+.2f} s".replace("-", "−")
    text = "the same" if one.answer.text == turn.answer.text else escape(one.answer.text)
    return (
        f'{begin}<td class="number">{when}</td><td>{one.answer.trigger}</td><td>{text}</td>'
        f"<td>{one.certainty}</td></tr>"
    )


def _messages(turn: Turn) -> Iterator[str]:
    rows = "".join(
        f'<tr><td class="number">{one.at:.3f} s</td><td class="number">{one.attempt}</td>'
        f'<td>{escape(one.event)}</td><td class="number">{one.place:.2f} s</td>'
        f'<td class="number">{_number(one.confidence)}</td><td>{escape(one.text)}</td></tr>'
        for one in turn.said
    )
    partials = "".join(
        f'<tr><td class="number">{at:.3f} s</td><td>{escape(text)}</td></tr>'
        for at, text in turn.partials
    )
    yield (
        "<details><summary>All that Flux said</summary>"
        '<div class="table"><table><tr><th class="number">Came</th>'
        '<th class="number">Connection</th><th>Event</th>'
        '<th class="number">Heard until</th><th class="number">Confidence</th>'
        f"<th>Text</th></tr>{rows}</table></div></details>"
        "<details><summary>Words that were shown as they came</summary>"
        f'<div class="table"><table>{partials}</table></div></details>'
        "<details><summary>Settings</summary>"
        f'<div class="table"><table>{_settings(turn)}</table></div></details>'
    )


def _settings(turn: Turn) -> str:
    both: dict[str, Any] = {**turn.record.header["utterance"], **turn.record.header["flux"]}
    return "".join(
        f"<tr><td>{escape(str(name))}</td><td>{_shown(value)}</td></tr>"
        for name, value in both.items()
    )


def _distribution(times: Sequence[float]) -> str:
    """Draw how many answers came how late, in steps of a tenth of a second."""
    step = 0.1 if times[-1] <= 4 else 0.5
    counts: dict[int, int] = {}
    for one in times:
        counts[int(one / step)] = counts.get(int(one / step), 0) + 1
    columns = max(counts) + 1
    width, most = 1100 / max(columns, 10), max(counts.values())
    bars = "".join(
        f'<rect class="Flux" x="{20 + at * width:.1f}" y="{110 - 90 * count / most:.1f}"'
        f' width="{width - 2:.1f}" height="{90 * count / most:.1f}">'
        f"<title>{at * step:.1f} to {(at + 1) * step:.1f} s: {count}</title></rect>"
        f'<text x="{24 + at * width:.1f}" y="{105 - 90 * count / most:.1f}">{count}</text>'
        for at, count in sorted(counts.items())
    )
    every = max(1, columns // 10)
    marks = "".join(
        f'<text class="soft" x="{20 + at * width:.1f}" y="126">{at * step:.1f}</text>'
        for at in range(0, max(columns, 10), every)
    )
    late = times[(len(times) * 95 + 99) // 100 - 1]
    caption = (
        f"Median {statistics.median(times):.2f} s, 95 of 100 within {late:.2f} s,"
        f" longest {times[-1]:.2f} s; {len(times)} answers with text."
    )
    begin = f'<svg viewBox="0 0 {picture.WIDTH} 132" role="img" aria-label="{caption}">'
    return _figure(f"{begin}{bars}{marks}</svg>", caption)


def _figure(svg: str, caption: str) -> str:
    return (
        f'<figure><div class="scroll" tabindex="0">{svg}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _badge(turn: Turn) -> str:
    answer = turn.answer
    good = answer is not None and bool(answer.text) and answer.error is None
    faults = len(answer.faults) if answer is not None and good else 0
    more = f", {faults} fault{'s' * (faults > 1)} on the way" if faults else ""
    return (
        f'<span class="outcome {"good" if good else "bad"}">{escape(outcome(turn) + more)}</span>'
    )


def _endpoint(turn: Turn) -> str:
    answer = turn.answer
    if answer is None or answer.endpoint is None:
        return "–"
    return escape(turn.record.endpoints[answer.endpoint])


def _when(turn: Turn) -> str:
    began = str(turn.record.header.get("began", ""))
    try:
        return datetime.fromisoformat(began).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return escape(began)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _shown(value: Any) -> str:
    return escape(", ".join(map(str, value)) if isinstance(value, list) else str(value))
