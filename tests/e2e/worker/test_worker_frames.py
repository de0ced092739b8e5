"""A connection through the shipped Worker: frames, ends and refusals pass as they are."""

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

    from tests.e2e.worker.conftest import FarEnd, StartWorker, Workerd


async def test_binary_frames_byte_for_byte(worker: "Workerd", far_end: "FarEnd") -> None:
    """Audio arrives as binary frames of the same sizes and bytes, in order."""
    noise = random.Random(5)
    frames = [noise.randbytes(2560) for _ in range(40)]
    frames += [bytes(range(256)), b"\x00" * 2560, b"\xff\xfe", noise.randbytes(300_000)]
    async with worker.connect() as websocket:
        for frame in frames:
            await websocket.send(frame)
        for frame in frames:
            assert await websocket.recv() == frame


async def test_text_frames_as_they_are(worker: "Workerd", far_end: "FarEnd") -> None:
    """Text stays text, with every character, and is not mistaken for audio."""
    texts = ['{"type":"CloseStream"}', "", "Füße 客厅 🏠\x00", "x" * 2_000_000]
    async with worker.connect() as websocket:
        for text in texts:
            await websocket.send(text)
            assert await websocket.recv() == text


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1013, 4000, 4999, 1005, 1006])
async def test_close_codes_towards_the_client(
    worker: "Workerd", far_end: "FarEnd", code: int
) -> None:
    """Code and reason with which Flux closes reach the client.

    So does a close frame without a code, as after CloseStream (1005); what breaks, breaks (1006).
    """
    reason = "" if code in (1005, 1006) else "because of a reason ü"

    async def handler(connection: "ServerConnection") -> None:
        assert await connection.recv() == '{"type":"CloseStream"}'
        if code == 1005:
            connection.protocol.send_close()
            connection.transport.write(b"".join(connection.protocol.data_to_send()))
        elif code == 1006:
            connection.transport.abort()
        else:
            await connection.close(code, reason)

    far_end.handler = handler
    async with worker.connect() as websocket:
        await websocket.send('{"type":"CloseStream"}')
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        assert (websocket.close_code, websocket.close_reason) == (code, reason)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
async def test_close_codes_towards_flux(worker: "Workerd", far_end: "FarEnd", code: int) -> None:
    """Code and reason with which the client closes reach Flux."""
    async with worker.connect() as websocket:
        await websocket.close(code, "enough")
    async with asyncio.timeout(5):
        assert await far_end.closed.get() == (code, "enough")


async def test_broken_connection_towards_flux(worker: "Workerd", far_end: "FarEnd") -> None:
    """A client that vanishes does not leave a paid stream open."""
    websocket = await worker.connect()
    await websocket.send(b"\x00\x00")
    assert await websocket.recv() == b"\x00\x00"
    websocket.transport.abort()
    async with asyncio.timeout(5):
        code, _ = await far_end.closed.get()
    assert code == 1006


async def test_audio_before_the_far_end_answers(worker: "Workerd", far_end: "FarEnd") -> None:
    """The Worker's 101 comes after that of Workers AI, so it never holds audio itself."""
    order: list[str] = []

    async def handler(connection: "ServerConnection") -> None:
        order.append("far end")
        await connection.send("ready")

    far_end.handler = handler
    async with worker.connect() as websocket:
        order.append("client")
        assert await websocket.recv() == "ready"
    assert order == ["far end", "client"]


def _workers_ai(code: int, message: str) -> str:
    return json.dumps({"errors": [{"code": code, "message": message}], "success": False})


def _gateway(code: int, message: str) -> str:
    return json.dumps(
        {"success": False, "result": [], "error": [{"code": code, "message": message}]}
    )


@pytest.mark.parametrize(
    ("status", "body", "expected", "code", "advice"),
    [
        (429, _workers_ai(3036, "daily free allocation"), 429, "3036", "00:00 UTC"),
        (429, _workers_ai(4006, "daily free allocation"), 429, "4006", "00:00 UTC"),
        (429, _workers_ai(3040, "No more data centers"), 429, "3040", "in a moment"),
        (400, _workers_ai(5004, "Invalid data"), 400, "5004", "encoding and sample_rate alone"),
        (500, '{"internalCode":5030,"name":"AiError","description":"x"}', 500, "5030", "alone"),
        (500, '{"internalCode":8005,"name":"AiError","message":"x"}', 500, "8005", "in a moment"),
        (403, _workers_ai(5035, "Workers Paid"), 502, "5035", "payments"),
        (403, _workers_ai(3041, "private"), 502, "3041", "Workers AI page"),
        (401, _workers_ai(10000, "Authentication error"), 502, "10000", "Workers AI page"),
        (401, '{"err_code":"INVALID_AUTH","err_msg":"x"}', 502, "INVALID_AUTH", "Workers AI page"),
        (403, "<html>denied</html>", 502, "http-403", "Workers AI page"),
        (402, '{"err_code":"ASR_PAYMENT_REQUIRED"}', 402, "ASR_PAYMENT_REQUIRED", "payments"),
        (404, _workers_ai(5007, "No such model"), 404, "5007", "newer version"),
        (400, _gateway(2001, "Please configure AI Gateway"), 400, "2001", "AI_GATEWAY_ID"),
        (401, _gateway(2009, "Unauthorized"), 502, "2009", "switch off its authentication"),
        (400, _workers_ai(7003, "Could not route"), 400, "7003", "AI_GATEWAY_ID"),
        (403, _workers_ai(9109, "Unauthorized"), 502, "9109", "Workers AI page"),
        (503, "", 503, "http-503", "in a moment"),
        (500, "[]", 500, "http-500", "in a moment"),
        (500, "null", 500, "http-500", "in a moment"),
        (500, '{"errors":[null],"error":7}', 500, "http-500", "in a moment"),
        (400, '{"code":"<script>","message":"a\\u0000b\\nc"}', 400, "http-400", "a b c"),
        (400, '{"code":1,"message":"' + "long " * 1000 + '"}', 400, "1", "alone"),
        (400, '{"code":1,"message":"' + "long " * 10_000 + '"}', 400, "http-400", "alone"),
    ],
)
async def test_refusals_are_passed_on(
    worker: "Workerd",
    far_end: "FarEnd",
    status: int,
    body: str,
    expected: int,
    code: str,
    advice: str,
) -> None:
    """A refusal keeps status, code and request id, says that it is not ours, and what to do."""
    far_end.refusal = (status, body, {"cf-ai-req-id": "req-9", "Location": "https://example.org"})
    answer = await worker.upgrade()
    assert answer.status == expected
    assert answer.error["source"] == "upstream"
    assert answer.error["code"] == code
    assert answer.error["requestId"] == "req-9"
    assert answer.error["upstreamStatus"] == status
    assert advice in answer.error["message"]
    assert len(answer.error["message"]) < 500


async def test_refusal_keeps_retry_after(worker: "Workerd", far_end: "FarEnd") -> None:
    """When to come back is passed on; other headers of the refusal are not."""
    far_end.refusal = (429, _workers_ai(3040, "busy"), {"Retry-After": "7", "Set-Cookie": "a=b"})
    answer = await worker.upgrade()
    assert answer.headers["retry-after"] == "7"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("body", ["{}", '{"errors":[{"code":5004,"message":"x"}]}', "", "ok"])
async def test_answer_without_a_websocket(worker: "Workerd", far_end: "FarEnd", body: str) -> None:
    """A friendly answer that is no WebSocket is an error, which says that parameters may be why."""
    far_end.refusal = (200, body, {"dg-request-id": "dg-1"})
    answer = await worker.upgrade("/?keyterm=lamp")
    assert answer.status == 502
    expected: dict[str, Any] = {
        "source": "upstream",
        "code": "no-websocket",
        "requestId": "dg-1",
        "upstreamStatus": 200,
    }
    assert expected.items() <= answer.error.items()
    assert answer.error.get("upstreamCode") == ("5004" if "5004" in body else None)


async def test_nothing_behind_the_worker(start_worker: "StartWorker", far_end: "FarEnd") -> None:
    """When Workers AI cannot be reached the Worker says so, instead of Cloudflare's error page."""
    worker = await start_worker(1, FLUX_TOKEN="correct-horse-battery-staple")
    answer = await worker.upgrade("/?keyterm=Rosalind")
    assert answer.status == 502
    assert answer.error["source"] == "upstream"
    assert answer.error["code"] == "upstream-failed"
    assert "Rosalind" not in answer.error["message"]


async def test_connections_at_once(worker: "Workerd", far_end: "FarEnd") -> None:
    """Twenty streams at once do not disturb each other."""

    async def one(number: int) -> None:
        async with worker.connect(f"?tag=t{number}") as websocket:
            for step in range(20):
                frame = bytes([number, step]) * 1280
                await websocket.send(frame)
                assert await websocket.recv() == frame

    await asyncio.gather(*(one(number) for number in range(20)))
    assert sorted(far_end.inputs(i)["tag"] for i in range(20)) == sorted(f"t{n}" for n in range(20))
