"""What a message costs does not grow with the length of the utterance."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.paper_flux import RATE
from wyoming_flux.flux.learnt import Facts
from wyoming_flux.flux.messages import TurnEvent, TurnInfo
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance.machine import Machine

QUARTER = bytes(RATE // 4 * 2)
MESSAGES = 24
"""Messages of a turn, each for a quarter of a second."""


def steps(work: Callable[[], Any]) -> int:
    """Count the calls that some work takes, of Python and of C."""
    count = 0

    def note(_frame: Any, kind: str, _what: Any) -> None:
        nonlocal count
        count += kind in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.slow
def test_a_message_costs_the_same_after_an_hour() -> None:
    """The dearest message of a turn takes as many steps in the first minute as after an hour."""
    machine = Machine(
        UtteranceSettings(answer_on="audio-stop"), FluxSettings(sample_rate=RATE), ["flux"], 0.0
    )
    machine.opened(1, Facts(), 0.0)
    dearest: list[int] = []
    for turn in range(600):
        costs = []
        for number in range(MESSAGES):
            now = (turn * MESSAGES + number + 1) / 4
            machine.feed(QUARTER, now)
            while machine.next_to_send(1):
                pass
            event = TurnEvent.END_OF_TURN if number == MESSAGES - 1 else TurnEvent.UPDATE
            text = " ".join(f"word{turn}of{one}" for one in range(number // 2))
            message = TurnInfo(event, turn, now, text)
            costs.append(steps(lambda m=message, t=now: machine.receive(1, m, t)))
            machine.tick(now)
            machine.events()
        dearest.append(max(costs))
    assert not machine.answered
    assert max(dearest[-60:]) <= max(dearest[:10]) + 5
