"""The turns of a soak, made up from a seed, and a simulator that strikes each as planned."""

import dataclasses
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.support.coded import CodedRecognizer, speak
from tests.unit.faults.matrix import TROUBLES, Client, Effect, Trouble
from wyoming_flux.simulator import Simulator, Upgrade
from wyoming_flux.simulator.faults import Fault

RATE: Final = 16000
# A refusal of parameters is remembered for all turns; a short stall loses messages, as no network
# does.
_LEFT_OUT: Final = ("refused: parameters", "stalls for 0.5 s")
_TROUBLES: Final = tuple(one for one in TROUBLES if one.name not in _LEFT_OUT)
TAG: Final = "soak"
SUPERSEDES: Final = "begins anew"
GARBAGE: Final = "sends garbage"
CLIENTS: Final = (
    *(Client.STREAMS_ON,) * 5,
    *(Client.STOPS_FIRST,) * 5,
    *(Client.WHOLE_FILE,) * 3,
    *(Client.DISCONNECTS,) * 2,
    SUPERSEDES,
    GARBAGE,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One turn."""

    number: int
    words: tuple[str, ...]
    lead: float
    tail: float
    client: str
    trouble: Trouble | None
    strikes: tuple[float, ...]
    """Seconds of audio after which each connection of this turn is struck."""
    leaves: float
    """When a client that leaves does so, in seconds."""

    @property
    def text(self) -> str:
        """What is said."""
        return " ".join(self.words)

    @property
    def audio(self) -> bytes:
        """The audio of it."""
        streams_on = self.client == Client.STREAMS_ON
        return silence(self.lead) + speak(self.text) + silence(3.0 if streams_on else self.tail)

    def faults(self, attempt: int) -> list[Fault]:
        """Return what strikes the connection with this number, counted from 1."""
        trouble = self.trouble
        if trouble is None or (attempt > 1 and trouble.effect is not Effect.LASTING):
            return []
        if trouble.opening:
            return list(trouble.faults)
        after = self.strikes[min(attempt, len(self.strikes)) - 1]
        return [dataclasses.replace(one, after=after) for one in trouble.faults]  # type: ignore[call-arg]  # of Midway


def silence(seconds: float) -> bytes:
    """Return silence."""
    return bytes(int(RATE * seconds) * 2)


def plans(turns: int, seed: int) -> Iterator[Plan]:
    """Make up turns."""
    chance = random.Random(seed)
    for number in range(1, turns + 1):
        words = tuple(f"w{place}-{number}" for place in range(chance.randint(1, 6)))
        length = 1.0 + len(words) * 0.25
        yield Plan(
            number=number,
            words=words,
            lead=chance.uniform(0.1, 0.7),
            # Half a second at the end may be lost with a connection.
            tail=chance.uniform(0.3, 0.6),
            client=chance.choice(CLIENTS),
            trouble=chance.choice(_TROUBLES) if chance.random() < 0.6 else None,
            strikes=tuple(chance.uniform(0, length) for _ in range(4)),
            leaves=chance.uniform(0, length),
        )


class SoakSimulator(Simulator):
    """A simulator whose faults belong to turns, told by a key term."""

    def __init__(self, planned: dict[int, Plan]) -> None:
        super().__init__(recognizer=CodedRecognizer, keep=False)
        self._planned = planned
        self._attempts: dict[int, int] = {}

    def faults_for(self, upgrade: Upgrade) -> tuple[Fault, ...]:
        """Return those of the turn that this connection belongs to."""
        tags = [
            value.removeprefix(TAG)
            for name, value in upgrade.query
            if name == "keyterm" and value.startswith(TAG)
        ]
        turn = int(tags[0])
        attempt = self._attempts[turn] = self._attempts.get(turn, 0) + 1
        return tuple(self._planned[turn].faults(attempt))
