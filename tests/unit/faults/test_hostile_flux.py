"""Whatever comes back over the WebSocket: one turn still ends in one outcome, in time."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from wyoming_flux.errors import ConnectionLost, WyomingFluxError
from wyoming_flux.flux.learnt import EndpointMemory, Facts
from wyoming_flux.flux.messages import CLOSE_STREAM, Message, parse
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance import Transcriber, Transcript

Virtual = Callable[[Callable[[], Awaitable[Any]]], Any]

LONGEST = 60.0
"""Seconds in which a turn of 10 s of audio must be over, whatever Flux does."""

numbers: st.SearchStrategy[Any] = st.one_of(
    st.integers(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0, -1, 1e308, 10**400, 2**63, True, False, None, "1", [], {}]),
)
texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "turn on the light", "\ud800", "\0", "ok nabu", "x" * 100_000]),
    numbers,
)
words = st.one_of(
    st.lists(
        st.one_of(
            numbers,
            st.fixed_dictionaries({}, optional={"word": texts, "start": numbers, "end": numbers}),
        ),
        max_size=3,
    ),
    numbers,
)
events = st.one_of(
    st.sampled_from(["Update", "StartOfTurn", "EagerEndOfTurn", "TurnResumed", "EndOfTurn"]), texts
)
turn_infos = st.fixed_dictionaries(
    {"type": st.sampled_from(["TurnInfo", "TurnInfo", None])},
    optional={
        "event": events,
        "turn_index": st.one_of(st.integers(0, 3), numbers),
        "audio_window_start": numbers,
        "audio_window_end": st.one_of(st.floats(0, 12), numbers),
        "transcript": texts,
        "words": words,
        "trigger": texts,
    },
)
others = st.fixed_dictionaries(
    {"type": st.one_of(st.sampled_from(["Connected", "Warning", "Error", "Configured"]), texts)},
    optional={
        "code": st.one_of(st.just("FORCE_END_TURN_NO_ACTIVE_TURN"), texts),
        "description": texts,
        "request_id": texts,
    },
)
frames = st.one_of(
    turn_infos.map(json.dumps),
    turn_infos.map(json.dumps),
    others.map(json.dumps),
    st.text(max_size=50),
    st.binary(max_size=50),
    st.sampled_from(["[" * 100_000, "{}", "null", '{"type":"TurnInfo","event":', "1e999", "NaN"]),
)
FAULT = '{"type": "Error", "code": "a\\nb\\u0000", "description": "\\u001b[31m"}'
STEP = st.one_of(
    st.tuples(st.just("say"), frames),
    st.tuples(st.just("say"), frames),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.25, 1.0, 5.0])),
    st.tuples(st.just("close"), st.none()),
)


class HostileConnection:
    """Says what it was told to, whatever it is sent."""

    def __init__(self, steps: list[tuple[str, Any]], takes: float | None) -> None:
        self.connect_ms = 0.0
        self.attempts = 1
        self.facts = Facts(control=CLOSE_STREAM)
        self._steps = iter(steps)
        self._takes = takes

    async def send_audio(self, pcm: bytes) -> None:
        assert pcm
        assert len(pcm) % 2 == 0
        if self._takes is not None:
            await asyncio.sleep(self._takes)

    async def send_control(self, message: str) -> None:
        assert json.loads(message)["type"] in ("CloseStream", "ForceEndTurn")

    async def receive(self) -> Message:
        for step, value in self._steps:
            match step:
                case "say":
                    return parse(value)
                case "wait":
                    await asyncio.sleep(value)
                case _:
                    raise ConnectionLost("closed")
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def close(self) -> None:
        await asyncio.sleep(1.0)


class HostileConnector:
    """Gives one such connection after the other."""

    def __init__(self, endpoint: Any, scripts: list[Any]) -> None:
        self.endpoint = endpoint
        self.name = "hostile"
        self.billed = True
        self.learnt = EndpointMemory(())
        self._scripts = iter(scripts)

    async def connect(self, settings: FluxSettings) -> HostileConnection:
        steps, takes = next(self._scripts, ([], None))
        return HostileConnection(steps, takes)


@given(
    scripts=st.lists(
        st.tuples(st.lists(STEP, max_size=25), st.sampled_from([None, None, 0.01, 0.2, 100.0])),
        max_size=4,
    ),
    stops=st.booleans(),
    paced=st.booleans(),
    profile=st.sampled_from(["workers-ai", "deepgram"]),
    answer_on=st.sampled_from(["end-of-turn", "audio-stop"]),
)
@example(
    scripts=[([("say", FAULT)], None)] * 3,
    stops=True,
    paced=True,
    profile="deepgram",
    answer_on="end-of-turn",
)
@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_flux_says(
    run_virtual: Virtual,
    memory_connector: Any,
    caplog: pytest.LogCaptureFixture,
    scripts: list[Any],
    stops: bool,
    paced: bool,
    profile: str,
    answer_on: Any,
) -> None:
    """One outcome in bounded time, a text or an error of ours; nothing in the log, no task left."""
    caplog.set_level(logging.WARNING)
    connector = HostileConnector(memory_connector(route=profile).endpoint, scripts)
    shown: list[str] = []

    async def send(transcriber: Transcriber) -> None:
        for _ in range(100):
            await transcriber.send(bytes(3200))
            if paced:
                await asyncio.sleep(0.1)
        if stops:
            transcriber.end()

    async def main() -> tuple[Transcript | WyomingFluxError, float]:
        loop = asyncio.get_running_loop()
        async with Transcriber(
            [connector],
            FluxSettings(),
            UtteranceSettings(answer_on=answer_on),
            on_partial=shown.append,
        ) as transcriber:
            sending = asyncio.create_task(send(transcriber))
            try:
                outcome: Transcript | WyomingFluxError = await transcriber.result()
            except WyomingFluxError as error:
                outcome = error
            at = loop.time()
            sending.cancel()
            await asyncio.wait([sending])
        return outcome, at

    outcome, at = run_virtual(main)
    assert at <= LONGEST
    assert not caplog.records
    if isinstance(outcome, Transcript):
        assert isinstance(outcome.text, str)
        assert len(outcome.text) <= 2_000_000
    else:
        assert outcome.code in ("timeout", "connection-lost", "not-flux")
        assert str(outcome).isprintable()
        assert len(str(outcome)) <= 500
