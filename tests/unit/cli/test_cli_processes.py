"""The commands as processes, with the simulator in the place of Flux."""

import asyncio
import json
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.unit.cli.conftest import TEXT
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.faults import Refuse

pytestmark = pytest.mark.slow


async def test_transcribe_prints_the_text(run, wav, spoken, at) -> None:
    """A file goes in, its text alone comes out."""
    result = await run("transcribe", wav(spoken(0.3, 1.6, 0.6)), *at)
    assert (result.code, result.out, result.err) == (0, f"{TEXT}\n", "")


async def test_transcribe_as_json(run, wav, spoken, at) -> None:
    """JSON says what it cost, and nothing about times that mean nothing at this speed."""
    path = wav(spoken(0.3, 1.6, 0.6))
    result = await run("transcribe", path, "--json", *at)
    answer = json.loads(result.out)
    assert answer["file"] == path
    assert answer["text"] == TEXT
    assert answer["trigger"] == "audio-stop"
    assert answer["audio_seconds"] >= 2.5
    assert answer["connect_ms"] > 0
    assert answer["after_speech_ms"] is None
    assert answer["attempts"] == 1


async def test_real_time_tells_how_long_after_the_last_word(run, wav, spoken, at) -> None:
    """In real time the answer comes the simulator's 320 ms after the speech, and little later."""
    path = wav(spoken(0.1, 1.6, 1.0))
    result = await run(
        "transcribe", path, "--real-time", "--answer-on", "end-of-turn", "--json", *at
    )
    answer = json.loads(result.out)
    assert answer["trigger"] == "end-of-turn"
    assert 300 < answer["after_speech_ms"] < 1300


async def test_no_flux_there(run, wav, spoken, unused_port) -> None:
    """A host that does not answer is named."""
    url = f"ws://127.0.0.1:{unused_port}"
    result = await run("transcribe", wav(spoken(0.1, 0.5)), "--worker-url", url)
    assert result.code == 1
    assert f"127.0.0.1:{unused_port} cannot be reached" in result.err
    assert result.err.count("\n") == 1


@pytest.fixture
def unused_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def test_serve_answers_satellites_and_stops_on_sigterm(run, serve, flux, wav, spoken) -> None:
    """A satellite gets its text while its microphone is still open; SIGTERM ends with 0."""
    server, uri = await serve(flux.url)
    result = await run("transcribe", "--via", uri, "--json", wav(spoken(0.1, 1.6, 0.1)))
    answer = json.loads(result.out)
    assert answer["text"] == TEXT
    assert answer["trigger"] == "end-of-turn"
    assert 300 < answer["after_speech_ms"] < 1300
    fast = await run("transcribe", "--via", uri, "--fast", wav(spoken(0.1, 1.6, 0.1)))
    assert fast.out == f"{TEXT}\n"
    stopped = await server.end(signal.SIGTERM)
    assert stopped.code == 0
    assert "Utterance 1: end-of-turn" in stopped.err
    assert TEXT not in stopped.err


async def test_sigterm_lets_a_running_turn_finish(start, serve, flux, wav, spoken) -> None:
    """Nobody who speaks loses the sentence to a restart."""
    server, uri = await serve(flux.url)
    client = await start("transcribe", "--via", uri, "--verbose", wav(spoken(0.1, 1.6, 0.1)))
    await client.wait_for("words so far")
    server.process.send_signal(signal.SIGTERM)
    assert (await client.end()).out == f"{TEXT}\n"
    assert (await server.end()).code == 0


async def test_the_bare_form_serves(start, at, run) -> None:
    """Without a command it serves, as other Wyoming servers do; SIGINT ends with 0."""
    server = await start("--uri", "tcp://127.0.0.1:0", *at)
    uri = await server.wait_for(r"Listening on (tcp://\S+)")
    result = await run("health", "--uri", uri)
    assert result.code == 0
    assert f"{uri}: flux" in result.out
    assert (await server.end(signal.SIGINT)).code == 0


async def test_health_on_a_unix_socket(serve, run, flux, tmp_path) -> None:
    """Health asks where the server listens, from the same variable; afterwards nobody is there."""
    uri = f"unix://{tmp_path}/flux.sock"
    server, _ = await serve(flux.url, "--uri", uri)
    assert (await run("health", WYOMING_FLUX_URI=uri)).code == 0
    assert (await server.end(signal.SIGTERM)).code == 0
    failed = await run("health", WYOMING_FLUX_URI=uri)
    assert failed.code == 1
    assert failed.err == f"wyoming-flux: {uri} cannot be reached: No such file or directory\n"


async def test_health_is_bounded(run) -> None:
    """A server that accepts and says nothing is not healthy."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        result = await run("health", "--uri", uri, "--timeout", "0.2")
    assert result.code == 1
    assert result.err == f"wyoming-flux: {uri} did not answer within 0.2 s\n"


@pytest.mark.parametrize(
    "said", ["[]", '{"no": "type"}', '{"type": "info", "data": {"asr": 3}}', '{"data_length": 9}']
)
async def test_health_of_something_else(run, said: str) -> None:
    """What is almost Wyoming is not healthy either, in one sentence."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{said}\n".encode())
        await reader.readline()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        uri = f"tcp://127.0.0.1:{other.sockets[0].getsockname()[1]}"
        result = await run("health", "--uri", uri)
    assert result.code == 1
    assert result.err == f"wyoming-flux: {uri} does not speak Wyoming\n"


async def test_a_port_in_use_is_one_sentence(run, at) -> None:
    """The sentence names the option; it is no usage error."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        uri = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        result = await run("serve", "--uri", uri, *at)
    assert result.code == 1
    assert result.err == f"wyoming-flux: --uri: cannot listen on {uri}: Address already in use\n"


async def test_log_lines_are_json(serve, run, flux, wav, spoken) -> None:
    """Each line is an object; that of a turn has its figures as fields, and no text."""
    server, uri = await serve(flux.url, "--log-format", "json", WYOMING_FLUX_NAEM="x")
    await run("transcribe", "--via", uri, "--fast", wav(spoken(0.1, 1.6, 0.1)))
    lines = (await server.end(signal.SIGTERM)).err.splitlines()
    records = [json.loads(line) for line in lines]
    assert any("WYOMING_FLUX_NAME" in record["message"] for record in records)
    (turn,) = [record["utterance"] for record in records if "utterance" in record]
    assert turn["outcome"] == "audio-stop"
    assert turn["characters"] == len(TEXT)
    assert all(record["time"].endswith("+00:00") for record in records)


async def test_the_token_is_nowhere(serve, run, wav, spoken, tmp_path) -> None:
    """Neither the log at its most talkative nor the process list shows a token or a header."""
    (tmp_path / "headers").write_text("CF-Access-Client-Secret: s3cret-header\n")
    async with Simulator(ingest_rate=0, token="s3cret-token") as flux:
        server, uri = await serve(
            flux.url,
            "--debug",
            *("--header-file", "headers"),
            WYOMING_FLUX_TOKEN="s3cret-token",
        )
        command_line = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
        result = await run("transcribe", "--via", uri, "--fast", wav(spoken(0.1, 1.6, 0.1)))
        assert result.out == f"{TEXT}\n"
        assert flux.connections[0].request.headers["cf-access-client-secret"] == "s3cret-header"
    log = (await server.end(signal.SIGTERM)).err
    assert TEXT in log  # --debug is the way to see what was understood
    assert "s3cret" not in log
    assert b"s3cret" not in command_line


async def test_daily_minutes_last_over_a_restart(serve, run, flux, wav, spoken) -> None:
    """What was used before a restart counts."""
    path = wav(spoken(0.1, 1.6, 0.1))
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    limit = ("--uri", f"tcp://127.0.0.1:{port}", "--daily-minutes", "0.03")
    server, uri = await serve(flux.url, *limit)
    assert (await run("transcribe", "--via", uri, "--fast", path)).code == 0
    assert (await server.end(signal.SIGTERM)).code == 0
    server, uri = await serve(flux.url, *limit)
    result = await run("transcribe", "--via", uri, "--fast", "--json", path)
    assert result.code == 1
    assert json.loads(result.out)["code"] == "quota"
    assert (await server.end(signal.SIGTERM)).code == 0


async def test_check_tells_what_is_there(run, at) -> None:
    """One connection: route, time of the handshake, headers, first message, what was heard."""
    result = await run("check", *at, "--keyterm", "Nabu")
    assert (result.code, result.err) == (0, "")
    assert "route workers-ai" in result.out
    assert "Handshake:" in result.out
    assert "cf-ai-req-id:" in result.out
    assert "First message:          Connected" in result.out
    assert "no token was given" in result.out
    assert re.search(r"Verdict: +Flux heard '.+' 0\.\d\d s after the last word; ", result.out)
    assert "thresholds and key terms were accepted" in result.out


async def test_check_as_json(run, at) -> None:
    """The same for programs: one object, whether it went well or not."""
    result = await run("check", *at, "--json", "--eot-threshold", "0.95")
    good = json.loads(result.out)
    assert (result.code, good["ok"], good["token"], good["ignored"]) == (0, True, False, False)
    assert good["heard"] in good["text"]
    assert good["after_ms"] > 0
    assert "0.95" in good["advice"]
    async with Simulator(token="t0ken") as flux:
        result = await run("check", "--worker-url", flux.url, "--route", "workers-ai", "--json")
    bad = json.loads(result.out)
    assert (result.code, bad["ok"], bad["code"]) == (1, False, "auth")
    assert bad["what_to_do"].startswith("No token was given")
    assert bad["request_id"]


async def test_check_tells_what_is_wrong_and_what_to_do(run) -> None:
    """The fault is named by its code, with advice."""
    fault = Refuse(status=429, code="3036", message="4006: daily free allocation")
    async with Simulator(faults=[fault]) as flux:
        result = await run("check", "--worker-url", flux.url, "--route", "workers-ai")
    assert result.code == 1
    assert "Fault:                  quota" in result.out
    assert "What to do:             Wait until 00:00 UTC" in result.out
    assert "allowance" in result.err


async def test_check_of_something_else(run) -> None:
    """A server that is no WebSocket is not Flux."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        result = await run("check", "--worker-url", f"http://127.0.0.1:{port}")
    assert result.code == 1
    assert "Fault:                  not-flux" in result.out


async def test_via_a_server_that_is_not_there(run, wav, spoken, unused_port) -> None:
    """A satellite without its server says so."""
    uri = f"tcp://127.0.0.1:{unused_port}"
    result = await run("transcribe", "--via", uri, wav(spoken(0.1, 0.5)))
    assert result.code == 1
    assert f"the server {uri} cannot be reached" in result.err


async def test_via_tells_the_servers_own_error(run, serve, wav, spoken, unused_port) -> None:
    """The server's sentence and code reach whoever asked."""
    _, uri = await serve(f"ws://127.0.0.1:{unused_port}")
    result = await run("transcribe", "--via", uri, "--json", wav(spoken(0.1, 0.5)))
    assert result.code == 1
    assert json.loads(result.out)["code"] == "unreachable"


async def test_completion(run, tmp_path) -> None:
    """The shell is told the options that begin with what was typed."""
    answer = tmp_path / "answer"
    line = "wyoming-flux transcribe --wo"
    result = await run(
        _ARGCOMPLETE="1",
        _ARGCOMPLETE_STDOUT_FILENAME=str(answer),
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
        COMP_TYPE="9",
        _ARGCOMPLETE_IFS="\n",
    )
    assert result.code == 0
    assert answer.read_text().split() == ["--worker-url"]


async def test_serve_looks_at_the_endpoint(start, serve, wav, spoken, run, tmp_path) -> None:
    """What is wrong is said before the first sentence, once, with what to do; serving goes on."""
    token = tmp_path / "token"
    token.write_text("not-the-right-one", "utf-8")
    async with Simulator(token="the-right-one") as flux:
        server, uri = await serve(flux.url, "--token-file", str(token), "--eot-threshold", "0.95")
        told = await server.wait_for(r"WARNING No text from Flux.*")
        for _ in range(2):
            failed = await run("transcribe", "--via", uri, wav(spoken(0.1, 0.5, 0.1)))
            assert failed.code == 1
        stopped = await server.end(signal.SIGTERM)
    assert "(auth): " in told
    assert "Put the right token into" in told
    assert stopped.code == 0
    warnings = [line for line in stopped.err.splitlines() if " WARNING " in line]
    assert len(warnings) == 2
    assert "0.95 may be refused" in warnings[0]
    assert "INFO Utterance 2: auth" in stopped.err
    assert "not-the-right-one" not in stopped.err


async def test_serve_says_that_the_endpoint_is_well(serve, flux) -> None:
    """The log of a healthy start says so, and that half a second is counted."""
    server, _ = await serve(flux.url)
    await server.wait_for(r"INFO Flux answers \(Connected\)")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--worker-url", "https://flux.<account>.workers.dev"), "<account> in the Worker URL"),
        (
            ("--worker-url", "wss://a.workers.dev", "--language", "de"),
            "--language: the model flux-general-en does not know the language 'de'",
        ),
    ],
)
async def test_serve_refuses_what_cannot_work(run, arguments, sentence) -> None:
    """A wrong setting ends it at once, with 2 and one sentence, before anything else is said."""
    result = await run("serve", "--uri", "tcp://127.0.0.1:0", *arguments)
    assert result.code == 2
    assert sentence in result.err
    assert len(result.err.splitlines()) == 1
