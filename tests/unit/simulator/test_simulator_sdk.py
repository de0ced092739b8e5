"""Deepgram's own client against the simulator: it must not notice the difference."""

import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import pytest
from deepgram import AsyncDeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.environment import DeepgramClientEnvironment
from deepgram.listen.v2.types import (
    ListenV2CloseStream,
    ListenV2Configure,
    ListenV2ConfigureFailure,
    ListenV2ConfigureSuccess,
    ListenV2ConfigureThresholds,
    ListenV2Connected,
    ListenV2FatalError,
    ListenV2ForceEndTurn,
    ListenV2TurnInfo,
    ListenV2Warning,
)
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus

from tests.support.coded import CodedRecognizer, speak
from wyoming_flux.simulator import (
    PROFILES,
    FluxSession,
    LocalFlux,
    Profile,
    Simulator,
    UpgradeRequest,
)
from wyoming_flux.simulator.faults import (
    BinaryFrames,
    ConnectedLate,
    Dropped,
    ErrorMessage,
    Fault,
    Jitter,
    NoControls,
    Refuse,
    SlowReader,
    SpoiledEnd,
    Stall,
    Unflushed,
    Window,
)

# The SDK imports names of older versions of websockets.
pytestmark = pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")

BASIC: dict[str, Any] = {
    "model": "flux-general-en",
    "encoding": "linear16",
    "sample_rate": 16000,
}


@pytest.fixture
async def listen() -> AsyncIterator[Callable[..., Any]]:
    """Connect with the SDK to a simulator made of these arguments."""
    async with contextlib.AsyncExitStack() as stack:

        async def connect(key: str = "key", options: Any = BASIC, **service: Any) -> Any:
            simulator = await stack.enter_async_context(
                Simulator(profile="deepgram", ingest_rate=0, **service)
            )
            environment = DeepgramClientEnvironment(
                base=simulator.url.replace("ws", "http", 1),
                production=simulator.url,
                agent=simulator.url,
                agent_rest=simulator.url,
            )
            client = AsyncDeepgramClient(api_key=key, environment=environment)
            socket = await stack.enter_async_context(client.listen.v2.connect(**options))
            return socket, simulator

        yield connect


async def rest(socket: Any) -> list[Any]:
    """All messages up to the close."""
    found = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            found.append(await socket.recv())
    return found


async def test_a_turn(listen: Callable[..., Any], spoken: Callable[..., bytes]) -> None:
    """Connected, TurnInfo with all their fields, EndOfTurn with its trigger."""
    socket, simulator = await listen(script=["turn on the lights"])
    connected = await socket.recv()
    assert isinstance(connected, ListenV2Connected)
    assert connected.sequence_id == 0
    await socket.send_media(spoken(0.5, 1.5, 0.6))
    await socket.send_close_stream(ListenV2CloseStream(type="CloseStream"))
    messages = await rest(socket)
    assert all(isinstance(one, ListenV2TurnInfo) for one in messages)
    assert not [one.model_extra for one in messages if one.model_extra]
    assert [one.sequence_id for one in messages] == list(range(1, len(messages) + 1))
    events = [one.event for one in messages if one.event != "Update"]
    assert events == ["StartOfTurn", "EndOfTurn"]
    (end,) = [one for one in messages if one.event == "EndOfTurn"]
    assert (end.transcript, end.trigger, end.turn_index) == ("turn on the lights", "model", 0)
    assert [word.word for word in end.words] == ["turn", "on", "the", "lights"]
    assert all(word.start < word.end for word in end.words)
    assert simulator.connections[0].mistakes == []


async def test_the_close_is_clean_and_has_no_code(listen: Callable[..., Any]) -> None:
    """1005, which the library takes for a normal end."""
    socket, _ = await listen()
    await socket.recv()
    await socket.send_close_stream(ListenV2CloseStream(type="CloseStream"))
    with pytest.raises(ConnectionClosedOK) as caught:
        await socket.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1005


async def test_all_parameters(listen: Callable[..., Any]) -> None:
    """What the SDK writes into the query is understood."""
    options = {
        **BASIC,
        "model": "flux-general-multi",
        "eot_threshold": 0.8,
        "eager_eot_threshold": 0.5,
        "eot_timeout_ms": 3000,
        "keyterm": ["living room", "café, bar"],
        "tag": ["a", "b"],
        "mip_opt_out": True,
        "language_hint": ["de", "en"],
    }
    socket, simulator = await listen(options=options)
    await socket.recv()
    (connection,) = simulator.connections
    assert connection.request.headers["authorization"] == "Token key"
    parameters = connection.parameters
    assert parameters.keyterms == ("living room", "café, bar")
    assert (parameters.eot_threshold, parameters.eager_eot_threshold) == (0.8, 0.5)
    assert (parameters.tags, parameters.mip_opt_out) == (("a", "b"), True)
    assert (parameters.language_hints, parameters.eot_timeout_ms) == (("de", "en"), 3000)


async def test_eager_events(listen: Callable[..., Any], spoken: Callable[..., bytes]) -> None:
    """They are asked for with a threshold."""
    socket, _ = await listen(options={**BASIC, "eager_eot_threshold": 0.4}, script=["yes"])
    await socket.send_media(spoken(0.2, 0.5, 0.2, 0.3, 0.6))
    await socket.send_close_stream(ListenV2CloseStream(type="CloseStream"))
    events = [one.event for one in (await rest(socket))[1:] if one.event != "Update"]
    assert events == [
        "StartOfTurn",
        "EagerEndOfTurn",
        "TurnResumed",
        "EagerEndOfTurn",
        "EndOfTurn",
    ]


async def test_force_end_turn(listen: Callable[..., Any], spoken: Callable[..., bytes]) -> None:
    """The turn ends by hand; a second time there is a Warning."""
    socket, _ = await listen()
    await socket.send_media(spoken(0.2, 1.0))
    force = ListenV2ForceEndTurn(type="ForceEndTurn")
    await socket.send_force_end_turn(force)
    await socket.send_force_end_turn(force)
    await socket.send_close_stream(ListenV2CloseStream(type="CloseStream"))
    *_, end, warning = await rest(socket)
    assert (end.event, end.trigger) == ("EndOfTurn", "manual")
    assert isinstance(warning, ListenV2Warning)
    assert warning.code == "FORCE_END_TURN_NO_ACTIVE_TURN"


async def test_configure(listen: Callable[..., Any]) -> None:
    """Taken and echoed, or refused as a whole."""
    socket, simulator = await listen()
    await socket.recv()
    message = ListenV2Configure(
        type="Configure",
        thresholds=ListenV2ConfigureThresholds(eot_threshold=0.8),
        keyterms=["a", "b"],
    )
    await socket.send_configure(message)
    success = await socket.recv()
    assert isinstance(success, ListenV2ConfigureSuccess)
    assert success.keyterms == ["a", "b"]
    assert success.thresholds.eot_threshold == 0.8
    await socket.send_configure(
        ListenV2Configure(
            type="Configure", thresholds=ListenV2ConfigureThresholds(eot_threshold=0.2)
        )
    )
    failure = await socket.recv()
    assert isinstance(failure, ListenV2ConfigureFailure)
    assert failure.code == "INVALID_THRESHOLD"
    assert len(simulator.connections[0].controls) == 2


async def test_errors(listen: Callable[..., Any], spoken: Callable[..., bytes]) -> None:
    """A fatal error is its own class."""
    socket, _ = await listen(faults=[ErrorMessage(after=0.5)])
    await socket.send_media(spoken(1.0))
    error = (await rest(socket))[-1]
    assert isinstance(error, ListenV2FatalError)
    assert error.code == "INTERNAL_SERVER_ERROR"


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ({"options": {**BASIC, "model": "nova-3"}}, 403, "INSUFFICIENT_PERMISSIONS"),
        ({"options": {**BASIC, "eot_threshold": 0.2}}, 400, "INVALID_QUERY_PARAMETER"),
        ({"options": {**BASIC, "keyterm": ["x" * 101]}}, 400, "INVALID_QUERY_PARAMETER"),
        ({"token": "other"}, 401, "INVALID_AUTH"),
        (
            {"faults": [Refuse(status=402, code="ASR_PAYMENT_REQUIRED")]},
            402,
            "ASR_PAYMENT_REQUIRED",
        ),
    ],
)
async def test_refusals(listen: Callable[..., Any], arguments: Any, status: int, code: str) -> None:
    """With which exception depends on the SDK's idea of its WebSocket library."""
    with pytest.raises((InvalidStatus, ApiError)) as caught:
        await listen(**arguments)
    error = caught.value
    if isinstance(error, ApiError):
        assert error.status_code == status
    else:
        assert isinstance(error, InvalidStatus)
        assert error.response.status_code == status
        assert json.loads(error.response.body or b"")["err_code"] == code


MODELS: dict[str, Any] = {
    "Connected": ListenV2Connected,
    "TurnInfo": ListenV2TurnInfo,
    "ConfigureSuccess": ListenV2ConfigureSuccess,
    "ConfigureFailure": ListenV2ConfigureFailure,
    "Warning": ListenV2Warning,
    "Error": ListenV2FatalError,
}
FORCE = '{"type":"ForceEndTurn"}'
EVENTS = {"Update", "StartOfTurn", "EagerEndOfTurn", "TurnResumed", "EndOfTurn"}

controls = st.one_of(
    st.sampled_from(["CloseStream", "ForceEndTurn", "KeepAlive"]).map(lambda kind: {"type": kind}),
    st.fixed_dictionaries(
        {"type": st.just("Configure")},
        optional={
            "thresholds": st.dictionaries(
                st.sampled_from(["eot_threshold", "eager_eot_threshold", "eot_timeout_ms"]),
                st.sampled_from([0.2, 0.3, 0.5, 0.8, 1, 900]),
            ),
            "keyterms": st.sampled_from(["a", [], ["a", "b"], [" "]]),
            "language_hints": st.sampled_from([[], ["de"], ["xx"]]),
            "numerals": st.booleans(),
        },
    ),
).map(json.dumps)
audio = st.one_of(
    st.sampled_from(["yes", "turn on the light", "wait…"]).map(speak),
    st.sampled_from([0.1, 0.2, 0.35, 1.0]).map(lambda seconds: bytes(2 * int(16000 * seconds))),
)
queries = st.fixed_dictionaries(
    {},
    optional={
        "eager_eot_threshold": st.sampled_from(["0.3", "0.45", "0.7"]),
        "eot_timeout_ms": st.sampled_from(["500", "900"]),
        "keyterm": st.just("light"),
        "language_hint": st.just("pt-BR"),
    },
)


def configure(**fields: Any) -> str:
    """Return a Configure with these fields."""
    return json.dumps({"type": "Configure", **fields})


def check(value: Any) -> None:
    """Hold one message against the SDK's own model: right types, and no field that it lacks."""
    model = MODELS[value["type"]].model_validate(value, strict=True)
    parts = [model, *getattr(model, "words", []), getattr(model, "thresholds", None)]
    assert not any(part.model_extra for part in parts if part is not None), value
    assert value.get("event", "Update") in EVENTS
    assert value.get("trigger", "model") in ("model", "timeout", "manual")


some = st.sampled_from
midway = {
    "after": some([0.0, 0.3, 0.9, 2.0]),
    "on": some([None, "start-of-turn", "end-of-turn", "force-end-turn", "close-stream"]),
}
struck = st.one_of(
    some(["empty", "twice", "late"]).map(lambda kind: SpoiledEnd(kind=kind)),
    st.builds(Dropped, code=some([1000, 1005, 1006, 1011]), **midway),
    st.builds(Stall, seconds=some([None, 0.5]), **midway),
    st.builds(ErrorMessage, code=some(["INTERNAL_SERVER_ERROR", "NET-0001"]), **midway),
    st.builds(SlowReader, rate=some([0.0, 0.5, 4.0]), **midway),
    st.builds(Jitter, seconds=some([0.1, 2.0]), seed=st.integers(0, 9)),
    st.builds(ConnectedLate, seconds=some([0.0, 1.0]), after_audio=st.booleans()),
    st.builds(Window, kind=some(["lagging", "creeping"])),
    st.builds(NoControls, answer=some(["error", "close", "ignore"])),
    some([Unflushed(), BinaryFrames()]),
)
"""All faults but those that are no message of Flux by what they are: refusals, garbage, and fields
that are missing on purpose."""


def played(
    frames: list[Any], query: dict[str, str], which: str, faults: Sequence[Fault] = ()
) -> list[dict[str, Any]]:
    """Return all that is said to these frames, by a profile with a model, up to the close."""
    name, _, model = which.partition(" ")
    wanted = {"encoding": "linear16", "sample_rate": "16000", **query}
    wanted |= {"model": model} if model else {}
    if model != "flux-general-multi":
        wanted.pop("language_hint", None)
    profile: Profile = dataclasses.replace(PROFILES[name], idle_timeout=None)
    flux = LocalFlux(
        profile=profile, recognizer=CodedRecognizer, ingest_rate=0, faults=list(faults)
    )
    _, session = flux.open(UpgradeRequest("/v2/listen?" + urlencode(wanted)))
    assert isinstance(session, FluxSession), session
    said: list[dict[str, Any]] = []

    def take(now: float) -> None:
        while isinstance(told := session.next_to_send(now), str | bytes):
            said.append(json.loads(told))

    session.start(0.0)
    take(0.0)
    # The last one comes once all else was taken; who knows no CloseStream goes on listening.
    for now, frame in enumerate([*frames, '{"type":"CloseStream"}']):
        while not session.room and (due := session.deadline) is not None:
            take(max(due, now))
        if session.room:
            session.receive(frame, now)
        take(now)
    while (due := session.deadline) is not None:
        take(due)
    return said


@given(
    st.lists(audio | controls, max_size=12),
    queries,
    some(["deepgram flux-general-en", "deepgram flux-general-multi", "workers-ai"]),
    st.lists(struck, max_size=2),
)
def test_every_message_is_one_of_the_sdk_s(
    frames: list[Any], query: dict[str, str], which: str, faults: list[Fault]
) -> None:
    """Whatever is said, done or goes wrong, in any profile: Deepgram's own types hold, strictly."""
    multi = which.endswith("multi")
    for message in played(frames, query, which, faults):
        check(message)
        # "Present on every EndOfTurn event and only there" (AsyncAPI); Workers AI has none.
        ends = message.get("event") == "EndOfTurn"
        assert ("trigger" in message) is (ends and which != "workers-ai")
        if message["type"] == "TurnInfo":
            # "Only present when the multilingual model detects languages" (AsyncAPI).
            spoken = bool(message["transcript"])
            spoiled = ends and SpoiledEnd(kind="empty") in faults
            assert ("languages" in message) is (multi and (spoken or spoiled))
            assert multi or "languages_hinted" not in message


KINDS: dict[str, tuple[list[Any], dict[str, str], Sequence[Fault]]] = {
    "Connected": ([], {}, ()),
    "TurnInfo Update": ([bytes(16000)], {}, ()),
    "TurnInfo StartOfTurn": ([speak("yes")], {}, ()),
    "TurnInfo EagerEndOfTurn": (
        [speak("wait…"), bytes(6400), speak("yes")],
        {"eager_eot_threshold": "0.3"},
        (),
    ),
    "TurnInfo TurnResumed": (
        [speak("wait…"), bytes(6400), speak("yes")],
        {"eager_eot_threshold": "0.3"},
        (),
    ),
    "TurnInfo EndOfTurn model": ([speak("yes"), bytes(32000)], {}, ()),
    "TurnInfo EndOfTurn timeout": (
        [speak("wait…"), bytes(32000)],
        {"eot_timeout_ms": "500"},
        (),
    ),
    "TurnInfo EndOfTurn manual": ([speak("turn on the light"), FORCE], {}, ()),
    "ConfigureSuccess": ([configure(keyterms=["a"])], {}, ()),
    "ConfigureFailure INVALID_THRESHOLD": ([configure(thresholds={"eot_threshold": 9})], {}, ()),
    "ConfigureFailure INVALID_KEYTERM": ([configure(keyterms=[" "])], {}, ()),
    "ConfigureFailure INVALID_LANGUAGE_HINT": ([configure(language_hints=["xx"])], {}, ()),
    "Warning FORCE_END_TURN_NO_ACTIVE_TURN": ([FORCE], {}, ()),
    "Error UNPARSABLE_CLIENT_MESSAGE": (['{"type":"KeepAlive"}'], {}, ()),
    "Error INTERNAL_SERVER_ERROR": ([bytes(3200)], {}, [ErrorMessage()]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_message_is_said(kind: str) -> None:
    """What the property holds is all that the documentation names, with each event and code."""
    frames, query, faults = KINDS[kind]
    said = played(frames, query, "deepgram flux-general-en", faults)
    names = [
        " ".join(one[name] for name in ("type", "event", "trigger", "code") if name in one)
        for one in said
    ]
    assert kind in names
    for message in said:
        check(message)
