"""What a person sees of one file."""

import io
import json

import pytest

from wyoming_flux.cli.outcome import Display, Outcome
from wyoming_flux.flux import Route
from wyoming_flux.utterance import Trigger


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def outcome(text: str) -> Outcome:
    """An answer with this text."""
    return Outcome(
        file="a.wav",
        text=text,
        trigger=Trigger.END_OF_TURN,
        audio_seconds=1.23456,
        connect_ms=None,
        after_speech_ms=345.678,
        attempts=1,
    )


def display(out: io.StringIO, err: io.StringIO, *, label: bool = False, **how: bool) -> Display:
    """A display on these streams."""
    options = {"as_json": False, "verbose": False, **how}
    return Display("a.wav", label=label, out=out, err=err, **options)


def test_words_appear_on_a_terminal_as_they_come() -> None:
    """What was shown early is completed, not repeated."""
    out = Terminal()
    shown = display(out, io.StringIO())
    for words in ("turn on", " the light"):
        shown.partial(words)
    shown.done(outcome("turn on the light"))
    assert out.getvalue() == "turn on the light\n"


def test_the_truth_replaces_what_was_shown_early() -> None:
    """Where Flux changed its mind, the answer is written over it, in as many rows as it took."""
    for early, back in (("turn of", "\r\x1b[J"), ("turn of " * 15, "\r\x1b[1A\x1b[J")):
        out = Terminal()
        shown = display(out, io.StringIO(), label=True)
        shown.partial(early)
        shown.done(outcome("turn off"))
        assert out.getvalue() == f"a.wav: {early}{back}a.wav: turn off\n"


def test_a_text_longer_than_the_screen_is_not_written_over() -> None:
    """What has left the screen cannot be taken back: the answer goes below."""
    out = Terminal()
    shown = display(out, io.StringIO())
    shown.partial("turn of " * 300)
    shown.done(outcome("turn off"))
    assert out.getvalue().endswith("turn of \nturn off\n")


def test_wide_letters_take_two_places() -> None:
    """Forty of them fill a row of 80, and one more begins the next."""
    for letters, back in ((40, "\r\x1b[J"), (41, "\r\x1b[1A\x1b[J")):
        out = Terminal()
        shown = display(out, io.StringIO())
        shown.partial("灯" * letters)
        shown.done(outcome("off"))
        assert out.getvalue() == f"{'灯' * letters}{back}off\n"


FREE = "; about 14 minutes a day are free"


@pytest.mark.parametrize(
    ("seconds", "route", "said"),
    [
        (20.0, Route.WORKER, ""),
        (2700.0, Route.WORKER, f"about $0.35 at Cloudflare's $0.0077 a minute{FREE}"),
        (3600.0, Route.DEEPGRAM, "1:00:00 of audio, about $0.47 at Deepgram's $0.0078 a minute\n"),
    ],
)
def test_the_price_is_told_before_a_long_recording(seconds: float, route: Route, said: str) -> None:
    """Minutes, dollars and whose; nothing of a short one, and nothing where quiet was asked for."""
    err = io.StringIO()
    display(io.StringIO(), err).price(seconds, route)
    assert said in err.getvalue()
    assert bool(said) == bool(err.getvalue())
    err = io.StringIO()
    display(io.StringIO(), err, quiet=True).price(seconds, route)
    assert err.getvalue() == ""


def test_what_was_given_up_ends_its_line() -> None:
    """After Ctrl-C the shell's prompt does not stand behind words."""
    out, err = Terminal(), io.StringIO()
    shown = display(out, err)
    shown.given_up()
    assert out.getvalue() == ""
    shown.partial("turn on")
    shown.given_up()
    assert out.getvalue() == "turn on\n"
    out, err = io.StringIO(), Terminal()
    shown = display(out, err)
    shown.begin(120.0)
    shown.progress(60.0, "heard")
    shown.given_up()
    assert out.getvalue() == ""
    assert err.getvalue().endswith("\r\x1b[K")


def test_a_pipe_gets_the_answer_alone() -> None:
    """Programs that read our output see no unfinished words."""
    out, err = io.StringIO(), io.StringIO()
    shown = display(out, err)
    shown.partial("turn")
    shown.done(outcome("turn on"))
    assert (out.getvalue(), err.getvalue()) == ("turn on\n", "")


def test_json_is_one_line_per_file() -> None:
    """Figures are rounded to what they mean."""
    out = Terminal()
    shown = display(out, io.StringIO(), as_json=True)
    shown.partial("turn")
    shown.done(outcome("turn on"))
    assert json.loads(out.getvalue()) == {
        "file": "a.wav",
        "text": "turn on",
        "trigger": "end-of-turn",
        "missing": 0.0,
        "audio_seconds": 1.23,
        "connect_ms": None,
        "after_speech_ms": 345.68,
        "attempts": 1,
        "endpoint": None,
        "faults": [],
    }


@pytest.mark.parametrize(("length", "expected"), [(20.0, ""), (120.0, "1:00 of 2:00 heard (50%)")])
def test_long_recordings_have_a_progress_line(length: float, expected: str) -> None:
    """It appears on the terminal of standard error while the text goes elsewhere, and goes away."""
    out, err = io.StringIO(), Terminal()
    shown = display(out, err)
    shown.begin(length)
    shown.progress(length / 2, "heard")
    shown.progress(length / 2, "heard")
    assert err.getvalue().count("of 2:00") == (1 if expected else 0)
    assert expected in err.getvalue()
    shown.done(outcome("text"))
    assert out.getvalue() == "text\n"
    assert not expected or err.getvalue().endswith("\r\x1b[K")


def test_verbose_tells_what_happens_and_when() -> None:
    """Times count from the beginning of the audio."""
    times = iter((10.0, 11.5))
    err = io.StringIO()
    shown = Display(
        "a.wav",
        as_json=True,
        label=False,
        verbose=True,
        out=io.StringIO(),
        err=err,
        clock=lambda: next(times),
    )
    shown.event("connecting")
    shown.begin(None)
    shown.event("audio-stop")
    assert err.getvalue() == "   0.00 s  connecting\n   1.50 s  audio-stop\n"
