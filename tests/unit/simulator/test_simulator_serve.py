"""The simulator on a real socket: what a client sees of it, and that it leaves nothing behind."""

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.coded import CodedRecognizer, speak
from wyoming_flux.simulator import Simulator, Upgrade
from wyoming_flux.simulator.faults import Dropped, Refuse, SlowReader

CLOSE = '{"type":"CloseStream"}'
pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("profile", ["deepgram", "workers-ai"])
async def test_a_whole_turn(
    converse: Any, target: Any, spoken: Callable[..., bytes], profile: Any
) -> None:
    """Audio up, messages down, a close without a code; and the record of it."""
    audio = spoken(0.2, 1.0, 0.6)
    async with Simulator(profile=profile, ingest_rate=0, script=["good night"]) as simulator:
        url = simulator.url + target(profile, ("keyterm", "café, bar"), ("keyterm", "b"))
        headers = {"Authorization": "Token x", "X-Mine": "1"}
        messages, closed = await converse(url, audio, CLOSE, additional_headers=headers)
    assert [one["transcript"] for one in messages if one.get("event") == "EndOfTurn"] == [
        "good night"
    ]
    assert closed == 1005
    (connection,) = simulator.connections
    assert connection.path == ("/v2/listen" if profile == "deepgram" else "/")
    assert [value for name, value in connection.query if name == "keyterm"] == ["café, bar", "b"]
    assert connection.request.headers["x-mine"] == "1"
    assert bytes(connection.audio or b"") == audio
    assert connection.controls == [{"type": "CloseStream"}]
    assert connection.sent == messages
    assert (connection.close_code, connection.closed_by_client) == (1005, False)


async def test_the_binding_s_upgrade(converse: Any) -> None:
    """As workerd sends it."""
    body = {
        "inputs": {"encoding": "linear16", "sample_rate": "16000", "keyterm": ["x" * 100] * 100},
        "options": {"websocket": True},
    }
    path = "/run?" + urlencode({"version": "3", "body": json.dumps(body)})
    assert len(path) > 10000
    async with Simulator(token="secret") as simulator:
        messages, _ = await converse(simulator.url + path, CLOSE)
    assert messages[0]["type"] == "Connected"


async def test_refusals_arrive_whole(target: Any) -> None:
    """Status, headers and body."""
    async with Simulator(profile="deepgram") as simulator:
        with pytest.raises(InvalidStatus) as caught:
            await connect(simulator.url + target("deepgram", ("foo", "1")), proxy=None)
    response = caught.value.response
    assert response.status_code == 400
    assert response.headers["dg-error"]
    assert json.loads(response.body or b"")["request_id"] == response.headers["dg-request-id"]
    assert simulator.connections[0].refused == 400


async def test_the_request_id_is_in_the_101(target: Any) -> None:
    """Under the profile's own name, the same as in the messages."""
    async with Simulator() as simulator, connect(simulator.url + target("workers-ai")) as websocket:
        assert websocket.response is not None
        first = json.loads(await websocket.recv())
        assert websocket.response.headers["cf-ai-req-id"] == first["request_id"]
        assert "sec-websocket-extensions" not in websocket.response.headers


async def test_a_plain_request_is_no_connection() -> None:
    """426, and nothing is recorded."""
    async with Simulator() as simulator:
        host, port = simulator.url.removeprefix("ws://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 426 " in await reader.readline()
        writer.close()
        await writer.wait_closed()
        assert simulator.connections == []


async def test_a_reconnect_succeeds(converse: Any, target: Any) -> None:
    """Faults of the first two connections leave the third alone."""
    faults = [Refuse(status=503, connection=1), Dropped(after=0.5, code=1006, connection=2)]
    audio = speak("one two three") + bytes(32000)
    async with Simulator(recognizer=CodedRecognizer, faults=faults, ingest_rate=0) as simulator:
        url = simulator.url + target("workers-ai")
        with pytest.raises(InvalidStatus):
            await converse(url)
        messages, code = await converse(url, audio)
        assert (code, messages[-1]["audio_window_end"]) == (1006, 0.5)
        messages, _ = await converse(url, audio, CLOSE)
        assert "one two three" in [one.get("transcript") for one in messages]


@pytest.mark.parametrize("code", [1000, 1005, 1006, 1008, 1011, 1012, 4000])
async def test_close_codes(converse: Any, target: Any, code: int) -> None:
    """Each arrives as it is meant, after all that was said before."""
    async with Simulator(faults=[Dropped(after=0.5, code=code)], ingest_rate=0) as simulator:
        messages, closed = await converse(simulator.url + target("workers-ai"), bytes(16000))
    assert closed == code
    assert messages[-1]["audio_window_end"] == 0.5


async def test_the_client_s_close_is_seen(target: Any) -> None:
    """Its code is recorded."""
    gone: asyncio.Queue[int | None] = asyncio.Queue()

    def observe(connection: Upgrade, line: str) -> None:
        if connection.number == 3 and connection.close_code:
            gone.put_nowait(connection.close_code)

    async with Simulator(observe=observe) as simulator:
        for code in (1000, 4001):
            async with connect(simulator.url + target("workers-ai"), proxy=None) as websocket:
                await websocket.recv()
                await websocket.close(code)
        websocket = await connect(simulator.url + target("workers-ai"), proxy=None)
        websocket.transport.abort()
        await websocket.wait_closed()
        async with asyncio.timeout(10):
            assert await gone.get() == 1006
    assert [(one.close_code, one.closed_by_client) for one in simulator.connections] == [
        (1000, True),
        (4001, True),
        (1006, True),
    ]


async def test_a_slow_reader_stops_a_real_client(target: Any) -> None:
    """Buffers are finite: a client that sends on is made to wait."""
    async with Simulator(faults=[SlowReader(after=0.08)]) as simulator:
        websocket = await connect(simulator.url + target("workers-ai"), proxy=None)

        async def send_on() -> None:
            while True:
                await websocket.send(bytes(32000))

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send_on(), 0.5)
        websocket.transport.abort()


async def test_a_client_that_does_not_read_is_dropped(
    target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages have a while to leave, then the connection goes."""
    monkeypatch.setattr("wyoming_flux.simulator.serve.FLUSH_SECONDS", 0.3)
    term = ("keyterm", "x" * 100)
    async with Simulator(ingest_rate=0) as simulator:
        url = simulator.url + target("workers-ai", *[term] * 50)
        websocket = await connect(url, proxy=None, max_queue=1)

        async def ask_on() -> None:
            while True:
                await websocket.send('{"type":"Configure"}')

        with pytest.raises(ConnectionClosed):
            await ask_on()
        (connection,) = simulator.connections
        assert (connection.close_code, connection.closed_by_client) == (1006, True)


async def test_a_broken_recognizer_does_not_leave_the_client_hanging(
    converse: Any, target: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection ends with 1011, the error is logged, and the recognizer is given up."""
    closed = []

    class Broken(CodedRecognizer):
        def hear(self, frame: bytes) -> bool:
            raise RuntimeError("deaf")

        def close(self) -> None:
            closed.append(self)

    async with Simulator(recognizer=Broken) as simulator:
        _, code = await converse(simulator.url + target("workers-ai"), bytes(640))
    assert (code, simulator.connections[0].close_code, len(closed)) == (1011, 1011, 1)
    assert "deaf" in caplog.text


async def test_the_token_may_come_as_a_subprotocol(target: Any) -> None:
    """As browsers send it to Deepgram; the answer names the protocol, never the key."""
    async with Simulator(profile="deepgram", token="secret") as simulator:
        url = simulator.url + target("deepgram")
        async with connect(url, proxy=None, subprotocols=["token", "secret"]) as websocket:
            assert websocket.subprotocol == "token"


async def test_leaving_ends_everything(target: Any) -> None:
    """Connections in any state are dropped, and the port is free."""
    async with Simulator() as simulator:
        url = simulator.url + target("workers-ai")
        idle = await connect(url, proxy=None)
        busy = await connect(url, proxy=None)
        for _ in range(50):
            await busy.send(bytes(2560))
        host, port = simulator.url.removeprefix("ws://").split(":")
        _, half = await asyncio.open_connection(host, int(port))
        half.write(b"GET / HT")
    for websocket in (idle, busy):
        async with asyncio.timeout(5):
            await websocket.wait_closed()
        assert websocket.close_code == 1006
    half.close()
    async with Simulator(uri=f"ws://127.0.0.1:{port}") as again:
        assert again.url.endswith(f":{port}")


async def test_a_taken_port_is_an_os_error() -> None:
    """The caller can say it in its own words."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        simulator = Simulator(uri=f"ws://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(OSError, match="in use"):
            await simulator.__aenter__()


async def test_tokens_stay_out_of_logs_and_reprs(
    converse: Any, target: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Also at the lowest level."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("websockets.client").setLevel(logging.INFO)
    lines: list[str] = []
    async with Simulator(
        token="sesame", observe=lambda connection, line: lines.append(line)
    ) as simulator:
        headers = {"Authorization": "Bearer sesame"}
        await converse(simulator.url + target("workers-ai"), CLOSE, additional_headers=headers)
        with pytest.raises(InvalidStatus):
            await converse(simulator.url + target("workers-ai"))
    assert lines
    assert "sesame" not in caplog.text + repr(simulator.connections) + "".join(lines)
