"""Whole Assist pipelines in Home Assistant's own process, from audio to what is done."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Any, override

import pytest
from homeassistant.components import assist_satellite, conversation
from homeassistant.components.assist_pipeline import PipelineEvent, PipelineStage
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.config_entries import ConfigEntry, ConfigFlow
from homeassistant.const import MATCH_ALL
from homeassistant.core import Context, HomeAssistant
from homeassistant.helpers import intent
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    MockModule,
    async_mock_service,
    mock_config_flow,
    mock_integration,
    mock_platform,
    setup_test_component_platform,
)
from pytest_homeassistant_custom_component.typing import WebSocketGenerator

ENGINE = "stt.deepgram_flux"
SENTENCE = "turn on the living room light"

type Run = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
async def home(hass: HomeAssistant) -> list[Any]:
    """A home with one light that Assist may switch; returns what it was told."""
    assert await async_setup_component(hass, "homeassistant", {})
    hass.states.async_set("light.living_room", "off", {"friendly_name": "Living room light"})
    async_expose_entity(hass, "conversation", "light.living_room", True)
    return async_mock_service(hass, "light", "turn_on")


@pytest.fixture
async def pipeline(hass: HomeAssistant, home: list[Any]) -> None:
    """Set up what a pipeline needs."""
    assert await async_setup_component(hass, "conversation", {})
    assert await async_setup_component(hass, "intent", {})
    assert await async_setup_component(hass, "assist_pipeline", {})


@pytest.fixture
async def run(hass_ws_client: WebSocketGenerator, pipeline: None) -> Run:
    """Return what runs a pipeline over the websocket API and gives its events."""
    client = await hass_ws_client()

    async def start(
        audio: AsyncIterable[bytes],
        *,
        agent: str = conversation.HOME_ASSISTANT_AGENT,
        conversation_id: str | None = None,
    ) -> list[dict[str, Any]]:
        await client.send_json_auto_id(
            {
                "type": "assist_pipeline/pipeline/create",
                "name": f"test {asyncio.get_running_loop().time()}",
                "language": "en",
                "conversation_engine": agent,
                "conversation_language": "en",
                "stt_engine": ENGINE,
                "stt_language": "en",
                "tts_engine": None,
                "tts_language": None,
                "tts_voice": None,
                "wake_word_entity": None,
                "wake_word_id": None,
            }
        )
        made = await client.receive_json()
        assert made["success"], made
        await client.send_json_auto_id(
            {
                "type": "assist_pipeline/run",
                "pipeline": made["result"]["id"],
                "start_stage": "stt",
                "end_stage": "intent",
                "input": {"sample_rate": 16000},
                "conversation_id": conversation_id,
            }
        )
        assert (await client.receive_json())["success"]
        events: list[dict[str, Any]] = []
        over = asyncio.Event()

        async def send(handler: int) -> None:
            async for chunk in audio:
                if over.is_set():
                    return
                await client.send_bytes(bytes([handler]) + chunk)
            await client.send_bytes(bytes([handler]))

        sender: asyncio.Task[None] | None = None
        async with asyncio.timeout(20):
            while not events or events[-1]["type"] != "run-end":
                message = await client.receive_json()
                events.append(message["event"])
                if events[-1]["type"] == "run-start":
                    handler = events[-1]["data"]["runner_data"]["stt_binary_handler_id"]
                    sender = asyncio.create_task(send(handler))
                elif events[-1]["type"] in ("stt-end", "error"):
                    over.set()
            if sender is not None:
                await sender
        return events

    return start


def only(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the data of the one event of this type."""
    (found,) = [event["data"] for event in events if event["type"] == kind]
    return found


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged aloud with a traceback."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.exc_info and record.levelno >= logging.WARNING
    ]


async def test_command_is_carried_out(
    hass: HomeAssistant, home: list[Any], worker, set_up, audio, run: Run
) -> None:
    """An open microphone, one sentence: the light is switched on without any VAD event."""
    await set_up(worker)
    events = await run(audio.microphone(audio.tone(1.6)))
    kinds = [event["type"] for event in events]
    assert only(events, "stt-start")["audio_processing"]["requires_external_vad"] is False
    assert "stt-vad-start" not in kinds
    assert "stt-vad-end" not in kinds
    assert only(events, "stt-end")["stt_output"]["text"] == SENTENCE
    assert only(events, "intent-end")["intent_output"]["response"]["response_type"] == "action_done"
    assert [call.data["entity_id"] for call in home] == [["light.living_room"]]


async def test_nothing_was_said(
    hass: HomeAssistant, start_worker, set_up, audio, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """Silence ends as Home Assistant expects it."""
    await set_up(await start_worker(ingest_rate=0), {"no_speech_timeout": 1.0})
    events = await run(audio.microphone())
    assert only(events, "error")["code"] == "stt-no-text-recognized"
    assert tracebacks(caplog) == []


async def test_fault_is_no_traceback(
    hass: HomeAssistant, worker, set_up, audio, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of Flux is the pipeline's usual error."""
    await set_up(worker)
    worker.token = "another"
    events = await run(audio.microphone(audio.tone(1)))
    assert only(events, "error")["code"] == "stt-stream-failed"
    assert tracebacks(caplog) == []


async def test_home_assistant_also_detects(
    hass: HomeAssistant, start_worker, set_up, audio, run: Run
) -> None:
    """With the option on, its own detection runs; whichever ends first wins."""
    await set_up(await start_worker(), {"external_vad": True})
    events = await run(audio.microphone(audio.tone(1.6)))
    assert only(events, "stt-start")["audio_processing"]["requires_external_vad"] is True
    assert only(events, "stt-end")["stt_output"]["text"] == SENTENCE


class Curious(conversation.AbstractConversationAgent):
    """An agent that always has one more question."""

    @property
    @override
    def supported_languages(self) -> str:
        return MATCH_ALL

    @override
    async def async_process(
        self, user_input: conversation.ConversationInput
    ) -> conversation.ConversationResult:
        response = intent.IntentResponse(language="en")
        response.async_set_speech("Which one?")
        return conversation.ConversationResult(
            response=response,
            conversation_id=user_input.conversation_id,
            continue_conversation=True,
        )


async def test_conversation_goes_on(hass: HomeAssistant, worker, set_up, audio, run: Run) -> None:
    """The answer to an agent's question is heard like any other sentence."""
    await set_up(worker)
    agent = MockConfigEntry(domain="agent")
    agent.add_to_hass(hass)
    conversation.async_set_agent(hass, agent, Curious())
    conversation_id = None
    for turn in (1, 2):
        events = await run(
            audio.microphone(audio.tone(1.6)),
            agent=agent.entry_id,
            conversation_id=conversation_id,
        )
        assert only(events, "stt-end")["stt_output"]["text"] == SENTENCE
        output = only(events, "intent-end")["intent_output"]
        assert output["continue_conversation"]
        conversation_id = output["conversation_id"]
        # One for the check at set-up, one for each turn.
        assert len(worker.connections) == 1 + turn


# --- satellites -------------------------------------------------------------------------------


class Satellite(assist_satellite.AssistSatelliteEntity):
    """A satellite whose microphone is a function."""

    _attr_name = "Satellite"
    _attr_unique_id = "satellite"
    _attr_supported_features = (
        assist_satellite.AssistSatelliteEntityFeature.ANNOUNCE
        | assist_satellite.AssistSatelliteEntityFeature.START_CONVERSATION
    )

    def __init__(self, microphone: Callable[[], AsyncIterable[bytes]]) -> None:
        """Take what to hear."""
        self.microphone = microphone
        self.events: list[PipelineEvent] = []
        self.announced: list[str] = []
        self.listening: asyncio.Task[None] | None = None

    @override
    def async_get_configuration(self) -> assist_satellite.AssistSatelliteConfiguration:
        return assist_satellite.AssistSatelliteConfiguration([], [], 1)

    @override
    async def async_set_configuration(
        self, config: assist_satellite.AssistSatelliteConfiguration
    ) -> None:
        # Abstract in Home Assistant; a call would mean something that no test foresees.
        raise AssertionError("nobody changes the wake words of this satellite")

    def listen(self) -> asyncio.Task[None]:
        """Begin as after a wake word."""
        self.listening = self.hass.async_create_background_task(
            self.async_accept_pipeline_from_satellite(
                self.microphone(),
                start_stage=PipelineStage.STT,
                end_stage=PipelineStage.INTENT,
                context=Context(),
            ),
            "satellite listens",
        )
        return self.listening

    @override
    async def async_announce(self, announcement: Any) -> None:
        self.announced.append(announcement.message)

    @override
    async def async_start_conversation(self, start_announcement: Any) -> None:
        self.announced.append(start_announcement.message)
        self.listen()

    @override
    def on_pipeline_event(self, event: PipelineEvent) -> None:
        self.events.append(event)

    @override
    def tts_response_finished(self) -> None:
        """Say nothing."""


@pytest.fixture
async def satellite(
    hass: HomeAssistant, home: list[Any], set_up, worker, audio
) -> AsyncGenerator[Satellite]:
    """A satellite that uses the preferred pipeline, which is made with our engine."""
    await set_up(worker)
    for component in ("conversation", "intent", "assist_pipeline", "assist_satellite"):
        assert await async_setup_component(hass, component, {})

    async def forward(hass: HomeAssistant, entry: ConfigEntry) -> bool:
        await hass.config_entries.async_forward_entry_setups(entry, ["assist_satellite"])
        return True

    class Flow(ConfigFlow):
        """Never used, but there must be one."""

    mock_integration(hass, MockModule("test", async_setup_entry=forward))
    mock_platform(hass, "test.config_flow")
    made = Satellite(lambda: audio.microphone(audio.tone(1.6)))
    setup_test_component_platform(hass, "assist_satellite", [made], from_config_entry=True)
    with mock_config_flow("test", Flow):
        entry = MockConfigEntry(domain="test")
        entry.add_to_hass(hass)
        assert await hass.config_entries.async_setup(entry.entry_id)
        await hass.async_block_till_done()
        yield made


def spoken(satellite: Satellite) -> list[str]:
    """Return the texts that were understood."""
    return [
        event.data["stt_output"]["text"]
        for event in satellite.events
        if event.type == "stt-end" and event.data
    ]


async def test_satellite_command(
    hass: HomeAssistant, home: list[Any], satellite: Satellite
) -> None:
    """A satellite's pipeline carries a command out."""
    async with asyncio.timeout(20):
        await satellite.listen()
        await hass.async_block_till_done(wait_background_tasks=True)
    assert spoken(satellite) == [SENTENCE]
    assert len(home) == 1


async def test_satellite_asks_a_question(
    hass: HomeAssistant, home: list[Any], satellite: Satellite
) -> None:
    """The answer to assist_satellite.ask_question is heard, and goes to nobody else."""
    async with asyncio.timeout(20):
        answer = await satellite.async_internal_ask_question(
            question_media_id="http://127.0.0.1/question.mp3",
            answers=[
                {"id": "light", "sentences": ["turn on the {room} light"]},
                {"id": "no", "sentences": ["no"]},
            ],
        )
        await hass.async_block_till_done(wait_background_tasks=True)
    assert answer is not None
    assert (answer.id, answer.slots) == ("light", {"room": "living room"})
    assert home == []


async def test_announcement_in_the_middle_of_a_turn(
    hass: HomeAssistant,
    satellite: Satellite,
    worker,
    audio,
    eventually,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An announcement cancels the turn: Flux is closed at once, and nobody sees a traceback."""
    satellite.microphone = lambda: audio.microphone(audio.tone(60))
    listening = satellite.listen()
    await eventually(lambda: len(worker.connections) == 2 and worker.connections[1].audio_bytes > 0)
    await satellite.async_internal_announce(media_id="http://127.0.0.1/news.mp3")
    async with asyncio.timeout(5):
        await asyncio.wait((listening,))
    await eventually(lambda: worker.connections[1].closed_by_client)
    assert satellite.announced == [""]
    assert spoken(satellite) == []
    assert tracebacks(caplog) == []

    # The next turn is none the worse for it.
    satellite.microphone = lambda: audio.microphone(audio.tone(1.6))
    async with asyncio.timeout(20):
        await satellite.listen()
        await hass.async_block_till_done(wait_background_tasks=True)
    assert spoken(satellite) == [SENTENCE]
