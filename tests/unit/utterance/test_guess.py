"""Early guesses are measured, and end nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance import Report, Transcriber
from wyoming_flux.utterance.guess import Guess

Virtual = Callable[[Callable[[], Awaitable[Any]]], Any]


def test_a_guess_with_the_final_text_is_timed() -> None:
    """The first guess that had the text counts; case and punctuation make no difference."""
    guess = Guess()
    guess.hear(1, 0, "EagerEndOfTurn", "Turn on", 1.0)
    guess.hear(1, 0, "TurnResumed", "Turn on", 1.2)
    guess.hear(1, 0, "EagerEndOfTurn", "turn on the light", 2.0)
    guess.hear(1, 0, "EagerEndOfTurn", "turn on the light", 2.2)
    guess.hear(1, 0, "EndOfTurn", "Turn on the light.", 2.5)
    assert guess.earlier(2.5) == pytest.approx(0.5)
    assert guess.wrong


def test_guesses_of_a_lost_stream_do_not_count() -> None:
    """What another connection guessed says nothing of the turn that was answered."""
    guess = Guess()
    guess.hear(1, 0, "EagerEndOfTurn", "turn off", 1.0)
    guess.hear(2, 0, "EndOfTurn", "turn on", 2.0)
    assert guess.earlier(2.0) is None
    assert not guess.wrong


@pytest.mark.parametrize(("eager", "earlier"), [(0.3, True), (None, False)])
def test_report_tells_how_much_earlier(
    run_virtual: Virtual, memory_connector: Any, spoken: Any, eager: float | None, *, earlier: bool
) -> None:
    """With a threshold for guesses the report has the time; the answer comes at the end as ever."""
    audio = spoken(0.3, 2.0, 5.0)

    async def main() -> tuple[Report, float]:
        settings = FluxSettings(eager_eot_threshold=eager)
        loop = asyncio.get_running_loop()
        async with Transcriber([memory_connector()], settings, UtteranceSettings()) as transcriber:

            async def stream() -> None:
                for at in range(0, len(audio), 640):
                    await transcriber.send(audio[at : at + 640])
                    await asyncio.sleep(0.02)

            streaming = asyncio.create_task(stream())
            await transcriber.result()
            streaming.cancel()
            await asyncio.wait([streaming])
            return transcriber.report, loop.time()

    report, at = run_virtual(main)
    assert at == pytest.approx(2.62, abs=0.12)
    assert (report.guess_ms is not None) is earlier
    if report.guess_ms is not None:
        assert 80 <= report.guess_ms <= 400
    assert not report.guess_wrong
