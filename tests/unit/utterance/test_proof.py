"""Whether a control message is believed to flush: what Flux must do, and how soon."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from wyoming_flux.errors import ConnectionLost, FluxTimeout
from wyoming_flux.flux.messages import (
    CLOSE_STREAM,
    FORCE_END_TURN,
    NO_ACTIVE_TURN,
    FluxFault,
    FluxWarning,
    Message,
    Other,
    TurnEvent,
    TurnInfo,
)
from wyoming_flux.utterance.proof import COSTS, prove

SENT = 0.5
"""Seconds of audio before the proof."""


def update(end: float | None) -> TurnInfo:
    """Return a message that covers audio up to here."""
    return TurnInfo(TurnEvent.UPDATE, 0, end, "on")


def ended(trigger: str | None) -> TurnInfo:
    """Return the end of a turn."""
    return TurnInfo(TurnEvent.END_OF_TURN, 0, SENT, "on", trigger=trigger)


def closed(code: int) -> ConnectionLost:
    """Return the end of a connection."""
    return ConnectionLost("closed", close_code=code)


class Answers:
    """A connection on which these answers come, one each tenth of a second, then nothing."""

    def __init__(self, answers: tuple[Message | Exception, ...]) -> None:
        self.answers = list(answers)
        self.sent: list[bytes | str] = []

    async def send_audio(self, pcm: bytes) -> None:
        self.sent.append(pcm)

    async def send_control(self, message: str) -> None:
        self.sent.append(message)

    async def receive(self) -> Message:
        if not self.answers:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(0.1)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("control", "answers", "proven"),
    [
        (CLOSE_STREAM, (update(0.66), closed(1005)), True),
        (CLOSE_STREAM, (update(0.66), closed(1000)), True),
        (CLOSE_STREAM, (update(0.74), Other("x"), update(None), closed(1006)), True),
        (CLOSE_STREAM, (update(0.65), closed(1005)), False),
        (CLOSE_STREAM, (update(None), closed(1005)), False),
        (CLOSE_STREAM, (update(0.66), closed(1011)), False),
        (CLOSE_STREAM, (update(0.66), ended("manual"), closed(1005)), True),
        (CLOSE_STREAM, (update(0.66), FluxWarning("x", ""), closed(1005)), True),
        (CLOSE_STREAM, (FluxWarning(NO_ACTIVE_TURN, ""), update(0.66), closed(1005)), False),
        (CLOSE_STREAM, (update(0.66), FluxFault("x"), closed(1005)), False),
        (CLOSE_STREAM, (update(0.66), FluxTimeout("late")), False),
        (CLOSE_STREAM, (update(0.66),), False),
        (FORCE_END_TURN, (update(0.66), ended("manual")), True),
        (FORCE_END_TURN, (FluxWarning(NO_ACTIVE_TURN, ""),), True),
        (FORCE_END_TURN, (*[update(0.6)] * 8, ended("manual")), True),
        (FORCE_END_TURN, (*[update(0.6)] * 10, ended("manual")), False),
        (FORCE_END_TURN, (ended("model"), ended("manual")), False),
        (FORCE_END_TURN, (update(0.66), closed(1005)), False),
        (FORCE_END_TURN, (FluxFault("x"),), False),
    ],
)
def test_what_is_a_proof(
    run_virtual: Callable[[Callable[[], Awaitable[Any]]], Any],
    control: str,
    answers: tuple[Message | Exception, ...],
    proven: bool,
) -> None:
    """The documented effect, of all that was sent, within a second; it costs 0.24 s of silence."""
    connection = Answers(answers)

    async def main() -> tuple[bool, float]:
        return await prove(connection, control, SENT, 8000), asyncio.get_running_loop().time()

    found, took = run_virtual(main)
    assert found is proven
    assert took <= 1.01
    assert connection.sent == [bytes(1280)] * 3 + [control]
    assert pytest.approx(0.24) == COSTS
