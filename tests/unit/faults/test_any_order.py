"""Events in any order, at any time, with faults of Flux: the connection stays usable."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.info import Describe

from tests.support.coded import speak
from tests.unit.faults.matrix import TROUBLES, Trouble
from tests.unit.faults.stage import FORMAT, MemoryStage, PlayingClient, silence, stream
from wyoming_flux.settings import UtteranceSettings
from wyoming_flux.simulator.faults import ConnectedLate

Virtual = Callable[[Callable[[], Awaitable[Any]]], Any]

WORDS = speak("some words")
BEGIN = ("transcribe", "audio-start", "audio-chunk")
STEPS: dict[str, Event] = {
    "transcribe": Transcribe().event(),
    "transcribe klingon": Transcribe(language="tlh").event(),
    "audio-start": AudioStart(**FORMAT).event(),
    "audio-start 48 kHz": AudioStart(rate=48000, width=2, channels=1).event(),
    "audio-start odd": AudioStart(rate=12345, width=2, channels=1).event(),
    "audio-chunk words": AudioChunk(**FORMAT, audio=WORDS).event(),
    "audio-chunk silence": AudioChunk(**FORMAT, audio=silence(0.5)).event(),
    "audio-chunk odd": AudioChunk(**FORMAT, audio=WORDS[:1001]).event(),
    "audio-chunk empty": AudioChunk(**FORMAT, audio=b"").event(),
    "audio-stop": AudioStop().event(),
    "describe": Describe().event(),
}
steps = st.one_of(
    st.sampled_from(sorted(STEPS)), st.sampled_from([0.0, 0.1, 0.5, 2.0, 7.0]).map(float)
)


async def quick(client: PlayingClient, text: str) -> str | None:
    """Take a turn that nothing disturbs."""
    await client.say(Transcribe().event(), AudioStart(**FORMAT).event())
    await stream(client, silence(0.1) + speak(text) + silence(0.1), pace=False, stop=True)
    async with asyncio.timeout(60):
        _, event = await client.answers.get()
    found: str | None = event.data.get("text") if event.type == "transcript" else str(event.data)
    return found


@given(
    script=st.lists(steps, max_size=20),
    trouble=st.one_of(st.none(), st.sampled_from(TROUBLES)),
)
@settings(
    max_examples=250,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_events_in_any_order(
    run_virtual: Virtual,
    memory_connector: Any,
    caplog: pytest.LogCaptureFixture,
    script: list[str | float],
    trouble: Trouble | None,
) -> None:
    """No more answers than turns, nothing unexpected, and then a turn with its own text."""
    connector = memory_connector(recognizer="coded")
    begun = sum(isinstance(one, str) and one.startswith(BEGIN) for one in script)

    async def main() -> None:
        stage = MemoryStage(connector, UtteranceSettings())
        stage.flux.faults[:] = trouble.faults if trouble else ()
        client = await stage.connect()
        for step in script:
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                await client.say(STEPS[step])
        await client.say(AudioStop().event())
        # Two turns may still have to be answered, each after faults.
        await asyncio.sleep(60)
        stage.flux.faults.clear()
        answers = [client.answers.get_nowait()[1] for _ in range(client.answers.qsize())]
        assert len(answers) <= begun
        assert not [one for one in answers if one.data.get("code") == "internal"]
        assert await quick(client, "my own words") == "my own words"
        assert client.answers.empty()
        await client.hang_up()
        await stage.quiet()

    run_virtual(main)
    assert not [record for record in caplog.records if record.exc_info]


def test_an_error_does_not_wait_for_flux_to_close(
    run_virtual: Virtual, memory_connector: Any
) -> None:
    """A client is told what is wrong when it is known, though Flux takes a second to close."""
    connector = memory_connector(
        recognizer="coded", faults=[ConnectedLate(seconds=60.0)], close_seconds=1.0
    )

    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        stage = MemoryStage(connector, UtteranceSettings())
        client = await stage.connect()
        await client.say(STEPS["audio-chunk odd"], STEPS["audio-stop"])
        at, event = await client.answers.get()
        assert event.data["code"] == "timeout"
        await stage.quiet()
        closed = loop.time()
        await client.hang_up()
        return at, closed

    told, closed = run_virtual(main)
    # A beat for each of the two streams may pass before what is owed is seen.
    assert 8.0 <= told <= 8.5
    assert closed - told == pytest.approx(1.0)
