"""What a probe found, for a person (Markdown) and for the simulator (a profile)."""

import statistics
from typing import Any, Final

from wyoming_flux.flux.endpoint import Route

from .findings import Findings, Reaction
from .plan import IDLE, NAME, TIMEOUT_MS

_LAG: Final = 0.1
"""Seconds of lag that the network and the cadence of messages make by themselves."""
_LONGEST_BODY: Final = 1000


def profile_of(found: Findings) -> dict[str, Any]:
    """Return the profile with which ``wyoming-flux simulate --profile FILE`` behaves like this.

    What was not seen is left to the base. Raises ValueError where no stream was opened.
    """
    if found.unreached or not found.streams:
        raise ValueError("no stream was opened: there is nothing to behave like")
    profile: dict[str, Any] = {"base": "deepgram" if found.route == "deepgram" else "workers-ai"}
    names = ("CloseStream", "ForceEndTurn", "Configure")
    answers = [found.answers.get(name) for name in names]
    if all(one is not None for one in answers):
        taken = zip(names, answers, strict=True)
        profile["controls"] = [name for name, one in taken if one and one.kind == "taken"]
    unknown = found.answers.get("WyomingFluxProbe")
    if unknown is not None and unknown.kind in ("error", "close"):
        profile["unknown_control"] = unknown.kind
    elif unknown is not None:
        profile["unknown_control"] = "ignore"
    close = found.answers.get("CloseStream")
    if close is not None and close.kind == "taken":
        profile |= {"flush": bool(close.flushed), "close_code": close.code}
    for name in ("typed", "binary", "trigger", "word_times", "windows"):
        if (value := getattr(found, name)) is not None:
            profile[name] = value
    if found.windows == "true" and found.lag is not None:
        profile["window_lag"] = round(found.lag, 2) if found.lag >= _LAG else 0.0
    if found.end_of_turn_ms is not None:
        profile["end_of_turn_ms"] = int(round(found.end_of_turn_ms, -1))
    profile |= found_thresholds(found)
    profile["refused"], profile["ignored"] = _refused(found), _ignored(found)
    limit = found.taken.get("eot_threshold 1.0")
    if limit is not None and found.taken.get("eot_threshold"):
        profile["eot_threshold_limit"] = 1.0 if limit else 0.9
    if found.warm_ms is not None:
        profile["upgrade_delay"] = round(found.warm_ms / 1000, 1)
    if found.idle_heard is not None:
        profile["idle_timeout"] = None if found.idle_closed is None else round(found.idle_closed, 1)
    return profile


def found_thresholds(found: Findings) -> dict[str, Any]:
    """Return the thresholds that hold where a request has none, as a profile names them."""
    known: dict[str, Any] = {}
    if "eot_threshold" in found.thresholds:
        known["eot_threshold"] = found.thresholds["eot_threshold"]
    if "eot_timeout_ms" in found.thresholds:
        known["eot_timeout_ms"] = int(found.thresholds["eot_timeout_ms"])
    return known


def _refused(found: Findings) -> dict[str, Any]:
    refused: dict[str, Any] = {}
    for name in ("eot_threshold", "eot_timeout_ms", "eager_eot_threshold", "keyterm"):
        refusal = found.refusals.get(name)
        if found.taken.get(name) is False and refusal is not None:
            refused[name] = {"status": refusal["status"], "body": refusal["body"][:_LONGEST_BODY]}
    return refused


def _ignored(found: Findings) -> list[str]:
    ignored = []
    if found.timeout_honoured is False and found.taken.get("eot_timeout_ms"):
        ignored.append("eot_timeout_ms")
    if found.name_helps is False and found.taken.get("keyterm"):
        ignored.append("keyterm")
    return ignored


def summary_of(found: Findings) -> str:
    """Return the findings as Markdown."""
    lines = ["# What this Flux does", ""]
    if found.unreached or not found.streams:
        lines += [f"No stream was opened: {found.unreached or 'none was tried'}", ""]
        return "\n".join(lines)
    lines += [
        _head(found),
        "",
        "| Question | Seen |",
        "|---|---|",
    ]
    rows = [*_rows(found), *((_CONTROLS[name], _said(one)) for name, one in found.answers.items())]
    rows += _last_rows(found)
    lines += [f"| {question} | {seen} |" for question, seen in rows]
    lines += ["", "## Fields", ""]
    lines += [f"- `{kind}`: {', '.join(names)}" for kind, names in found.fields.items()]
    lines += ["", "## Out of the ordinary", ""]
    lines += [f"- {one}" for one in found.oddities] or ["Nothing."]
    for name, refusal in found.refusals.items():
        body = " ".join(refusal["body"].split())[:_LONGEST_BODY]
        status, text = refusal["status"], refusal["text"]
        how = f"was refused with {status}: `{body}`" if status else f"was not reached: {text}"
        lines += ["", f"`{name}` {how}"]
    return "\n".join(lines) + "\n"


def _head(found: Findings) -> str:
    whose = ", a Worker that is not ours" if found.plain else ""
    route = Route(found.route)
    dollars = found.sent / 60 * route.price
    return (
        f"Route `{route}`{whose}; {found.streams} streams, {found.sent:.1f} s of audio"
        f" (about ${dollars:.3f}: compare it with {route.billed_by}'s bill)."
    )


_CONTROLS: Final = {
    "CloseStream": "`CloseStream` in mid-word",
    "ForceEndTurn": "`ForceEndTurn` in mid-word",
    "Configure": "`Configure` in mid-word",
    "WyomingFluxProbe": "a message of an unknown type",
}


def _rows(found: Findings) -> list[tuple[str, str]]:
    def shown(name: str) -> str:
        return {True: "taken", False: "refused", None: "not told"}[found.taken.get(name)]

    rows = [
        ("upgrade, first and later (median)", f"{_ms(found.cold_ms)}, {_ms(found.warm_ms)}"),
        ("first message", found.first_message or "none"),
        ("`eot_threshold` 0.8, and 1.0", f"{shown('eot_threshold')}, {shown('eot_threshold 1.0')}"),
        ("`eot_timeout_ms`", shown("eot_timeout_ms")),
        ("`eager_eot_threshold`", shown("eager_eot_threshold")),
        ("one key term, and a hundred", f"{shown('keyterm')}, {shown('keyterm 100')}"),
        (
            f"does the key term {NAME!r} have an effect",
            f"{_yes(found.name_helps)}: {found.without_name!r} without, {found.with_name!r} with",
        ),
    ]
    honoured = _yes(found.timeout_honoured)
    if found.timeout_asked:
        end = "no end" if found.timeout_ms is None else f"ended after {_ms(found.timeout_ms)}"
        rows.append((f"is `eot_timeout_ms` {TIMEOUT_MS} honoured", f"{honoured}: {end}"))
    rows += [
        (
            "`type`, `trigger`, times of words",
            ", ".join(_yes(one) for one in (found.typed, found.trigger, found.word_times)),
        ),
        ("messages as binary frames", _yes(found.binary)),
        ("window ends", found.windows or "not told"),
        (
            "sent − window end, least and most",
            f"{_s(found.lag)}, {_s(found.lag_most)}; after a stop {_s(found.left_after_stop)}",
        ),
        ("between messages in silence", _s(found.update_seconds)),
    ]
    for size, times in found.end_ms.items():
        each = ", ".join(f"{one:.0f}" for one in times)
        median = f"{statistics.median(times):.0f} ms ({each})" if times else "no end"
        rows.append((f"last word to `EndOfTurn`, frames of {size} ms", median))
    rows.append(("the same by window ends", _ms(found.end_of_turn_ms)))
    return rows


def _last_rows(found: Findings) -> list[tuple[str, str]]:
    if found.idle_closed is not None:
        idle = f"closed with {found.idle_code} after {found.idle_closed:.1f} s"
    elif found.idle_heard is None:
        idle = "not told"
    else:
        idle = f"stays open, and {'hears' if found.idle_heard else 'does not hear'} what follows"
    return [(f"a stream without audio for {IDLE:.0f} s", idle)]


def _said(answer: Reaction) -> str:
    ends = "" if answer.code is None else f"; closed with {answer.code}"
    came = f"; then came {', '.join(answer.came)}" if answer.came else "; nothing came"
    # Only a message that ends something should make it tell the rest.
    flushed = {True: "; all that was sent was told", False: "; not all was told", None: ""}
    rest = "" if "ConfigureSuccess" in answer.came else flushed[answer.flushed]
    return f"{answer.kind}{came}{ends}{rest if answer.kind == 'taken' else ''}"


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "not told"}[value]


def _ms(value: float | None) -> str:
    return "not told" if value is None else f"{value:.0f} ms"


def _s(value: float | None) -> str:
    return "not told" if value is None else f"{value:.2f} s"
