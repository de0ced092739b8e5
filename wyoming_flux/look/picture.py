"""The pictures of an utterance, as SVG: what was heard, and what happened when."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

from .turn import END, Attempt, Said, Turn

WIDTH: Final = 1140
LEFT: Final = 100
RIGHT: Final = 40
_WAVE: Final = (52, 96)
"""Where the waveform stands, and how high it is."""
_CONF: Final = (176, 84)
_ROW: Final = 26
_SHORT: Final = {
    "StartOfTurn": "start",
    "EagerEndOfTurn": "early guess",
    "TurnResumed": "resumed",
    "EndOfTurn": "end",
}


@dataclass(frozen=True, slots=True)
class Axis:
    """Seconds to places on the picture."""

    length: float

    @property
    def scale(self) -> float:
        """Places in a second."""
        return (WIDTH - LEFT - RIGHT) / self.length

    def x(self, seconds: float) -> float:
        """Return the place of a time, on the picture in any case."""
        return round(LEFT + min(max(seconds, 0.0), self.length) * self.scale, 1)

    def grid(self, height: int) -> Iterator[str]:
        """Draw a line for each round number of seconds."""
        step = next((one for one in (0.5, 1, 2, 5, 10, 30, 60) if self.length / one <= 12), 300)
        for number in range(int(self.length / step) + 1):
            x = self.x(number * step)
            yield f'<line class="grid" x1="{x}" x2="{x}" y1="16" y2="{height - 4}"/>'
            yield f'<text class="soft" x="{x + 3}" y="12">{number * step:g} s</text>'


def peaks(samples: "array[int]", columns: int) -> list[tuple[int, int]]:
    """Return the least and the greatest sample of each column."""
    count = len(samples)
    parts = ((i * count // columns, (i + 1) * count // columns) for i in range(columns))
    return [(min(part), max(part)) for a, b in parts if (part := samples[a : max(b, a + 1)])]


def heard(turn: Turn, samples: "array[int] | None") -> str:
    """Draw the audio, its words, and how sure Flux was of the end, over the client's audio."""
    axis, height = Axis(turn.length), _CONF[0] + _CONF[1] + 8
    flux = turn.record.flux
    parts = [*axis.grid(height), *_wave(turn, axis, samples), *_words(turn, axis)]
    lines = [("end", flux.effective_eot_threshold), ("early guess", flux.eager_eot_threshold)]
    for name, value in lines:
        if value is not None:
            y = _y(value)
            parts.append(
                f'<line class="threshold" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}">'
                f"<title>threshold of the {name}: {value:g}</title></line>"
                f'<text x="4" y="{y + 4}">{value:g}</text>'
            )
    parts += _confidence(turn, axis)
    head = f'<line class="head" x1="0" x2="0" y1="16" y2="{height}"/>'
    label = "Waveform, words, and Flux's confidence that the turn is over"
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}"'
        f' data-seconds="{turn.audio}" data-left="{LEFT}" data-scale="{axis.scale}">'
        f"{''.join(parts)}{head}</svg>"
    )


def _y(confidence: float) -> float:
    return round(_CONF[0] + _CONF[1] * (1 - min(confidence, 1.0)), 1)


def _wave(turn: Turn, axis: Axis, samples: "array[int] | None") -> Iterator[str]:
    top, height = _WAVE
    middle = top + height / 2
    if not samples:
        yield f'<text class="soft" x="{LEFT + 6}" y="{middle}">the record has no audio</text>'
        return
    columns = max(1, min(int(turn.audio * axis.scale), WIDTH))
    found = peaks(samples, columns)
    most = max(1, *(max(-low, high) for low, high in found))
    width = turn.audio * axis.scale / len(found)

    def at(number: int, value: int) -> str:
        return f"{LEFT + number * width:.1f} {middle - value / most * height / 2:.1f}"

    upper = [at(number, high) for number, (_, high) in enumerate(found)]
    lower = [at(number, low) for number, (low, _) in enumerate(found)]
    yield f'<path class="wave" d="M{"L".join([*upper, *reversed(lower)])}Z"/>'


def _words(turn: Turn, axis: Axis) -> Iterator[str]:
    free = [0.0, 0.0]
    for word in turn.words:
        x = axis.x(word.start)
        row = min(range(2), key=lambda one: max(free[one] - x, 0.0))
        free[row] = x + 7 * len(word.text) + 6
        yield f'<text x="{x}" y="{29 + 15 * row}">{escape(word.text)}</text>'


def _confidence(turn: Turn, axis: Axis) -> Iterator[str]:
    known = [one for one in turn.said if one.confidence is not None]
    by_attempt: dict[int, list[Said]] = {}
    for one in known:
        by_attempt.setdefault(one.attempt, []).append(one)
    for messages in by_attempt.values():
        points = " ".join(f"{axis.x(one.place)},{_y(one.confidence or 0.0)}" for one in messages)
        yield f'<polyline class="conf" points="{points}"/>'
    for one in turn.said:
        x = axis.x(one.place)
        if (short := _SHORT.get(one.event)) is not None:
            yield f'<line class="event" x1="{x}" x2="{x}" y1="{_WAVE[0]}" y2="{_y(0)}"/>'
            # Ends stand to the right of their line, all else to the left: both come close together.
            right = one.event == END
            anchor, shift = ("start", 4) if right else ("end", -4)
            yield (
                f'<text text-anchor="{anchor}" x="{x + shift}" y="{_CONF[0] - 8}">{short}</text>'
            )
        title = f"{one.event} at {one.place:.2f} s, came at {one.at:.2f} s"
        sure = "" if one.confidence is None else f", confidence {one.confidence:.2f}"
        yield (
            f'<circle class="dot" cx="{x}" cy="{_y(one.confidence or 0.0)}" r="3">'
            f"<title>{escape(title + sure)}: {escape(one.text) or '(no text)'}</title></circle>"
        )


def happened(turn: Turn) -> str:
    """Draw what happened when: the client, each connection, what Flux said, the machine."""
    axis = Axis(turn.length)
    rows = [("client", list(_client(turn, axis)))]
    rows += [
        (f"connection {one.number}", list(_attempt(turn, axis, one)))
        for one in turn.attempts.values()
    ]
    rows += [("Flux", list(_flux(turn, axis))), ("state", list(_states(turn, axis)))]
    height = 20 + _ROW * len(rows) + 8
    parts = list(axis.grid(height))
    for number, (name, shapes) in enumerate(rows):
        y = 20 + number * _ROW
        parts.append(
            f'<g transform="translate(0 {y})"><text class="soft" x="2" y="16">{name}</text>'
            f"{''.join(shapes)}</g>"
        )
    if turn.answered is not None:
        x = axis.x(turn.answered)
        parts.append(
            f'<line class="answer" x1="{x}" x2="{x}" y1="16" y2="{height}">'
            f"<title>answered at {turn.answered:.3f} s</title></line>"
        )
    label = "What happened when"
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def _box(axis: Axis, begin: float, end: float, kind: str, title: str, text: str = "") -> str:
    x, width = axis.x(begin), max(1.5, axis.x(end) - axis.x(begin))
    shown = f'<text x="{x + 4}" y="16">{escape(text)}</text>' if width > 7 * len(text) + 6 else ""
    return (
        f'<rect class="{kind}" x="{x}" y="3" width="{width:.1f}" height="18" rx="2" opacity="0.55">'
        f"<title>{escape(title)}</title></rect>{shown}"
    )


def _client(turn: Turn, axis: Axis) -> Iterator[str]:
    begin = last = None
    for at, _ in turn.arrived:
        if last is None or at - last > 0.3:
            if begin is not None and last is not None:
                yield _box(axis, begin, last, "client", f"audio came until {last:.2f} s")
            begin = at
        last = at
    if begin is not None and last is not None:
        yield _box(axis, begin, last, "client", f"audio came until {last:.2f} s")
    if turn.client_ended is not None:
        x = axis.x(turn.client_ended)
        title = f"the client ended at {turn.client_ended:.2f} s"
        yield f'<circle class="client" cx="{x}" cy="12" r="5"><title>{title}</title></circle>'


def _attempt(turn: Turn, axis: Axis, attempt: Attempt) -> Iterator[str]:
    name = turn.record.endpoints[attempt.endpoint]
    ended = turn.length if attempt.ended is None else attempt.ended
    opened = ended if attempt.opened is None else attempt.opened
    yield _box(axis, attempt.began, opened, "wait", f"connecting to {name}")
    if attempt.opened is not None:
        again = turn.again(attempt)
        heard_again = f", heard {again:.2f} s again" if again else ""
        yield _box(axis, opened, ended, "open", f"open to {name}{heard_again}", name + heard_again)
    if attempt.why:
        x = axis.x(ended)
        yield (
            f'<circle class="lost" cx="{x}" cy="12" r="6">'
            f"<title>{escape(attempt.why)}</title></circle>"
        )


def _flux(turn: Turn, axis: Axis) -> Iterator[str]:
    for one in turn.said:
        size = 5 if one.event in _SHORT else 3
        yield (
            f'<circle class="dot" cx="{axis.x(one.at)}" cy="12" r="{size}">'
            f"<title>{one.at:.3f} s: {escape(one.event)} {escape(one.text)}</title></circle>"
        )
    for at in turn.ticks:
        x = axis.x(at)
        title = f"a deadline had come at {at:.2f} s"
        shape = f'<rect class="setting" x="{x - 2}" y="2" width="4" height="20">'
        yield f"{shape}<title>{title}</title></rect>"


def _states(turn: Turn, axis: Axis) -> Iterator[str]:
    kinds = {"HOLDING": "setting", "STREAMING": "Flux", "DRAINING": "ours"}
    following = [at for at, _ in turn.states[1:]] + [turn.length]
    for (at, state), until in zip(turn.states, following, strict=True):
        if state.name != "ANSWERED":
            name = state.name.lower()
            yield _box(
                axis, at, until, kinds.get(state.name, "network"), f"{name} from {at:.2f} s", name
            )
