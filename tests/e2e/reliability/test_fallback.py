"""Real processes: the sentence is understood although Flux is dead, dies, is refused or used up.

Each test prints how long after the last word the answer came (``pytest -rP``).
"""

import asyncio
import os
import signal
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.support.processes import RATE, ROOT, Process, Received, WyomingClient, transcribe
from wyoming_flux.ear import usable_model

pytest.importorskip("moonshine_voice", reason="needs the extra `local`")

SAMPLE = ROOT / "samples" / "set_the_bedroom_temperature_to_twenty_degrees.wav"
TEXT = "it was the best of times, it was the worst of times"
SPOKEN = (0.8, 4.64)
"""From where to where a person says that, in seconds of the recording."""
DEAD = ("--worker-url", "ws://127.0.0.1:9")
LOCAL = ("--fallback", "local")
EAR = ("--recognizer", "local")


def plain(answer: Received) -> str:
    """Return the words of a transcript."""
    assert answer.kind == "transcript", answer
    return str(answer.data["text"]).lower().rstrip(".")


def sentence() -> bytes:
    """Return what a person says, up to its last word; the recording is in the ear's package."""
    with wave.open(str(usable_model().path.parent / "two_cities.wav")) as file:
        assert file.getparams()[:3] == (1, 2, 3 * RATE)
        begin, end = (round(second * 3 * RATE) for second in SPOKEN)
        file.setpos(begin)
        pcm = file.readframes(end - begin)
    samples = np.frombuffer(pcm, "<i2").reshape(-1, 3).mean(axis=1)
    return samples.astype("<i2").tobytes()


async def say(server: Process, what: str) -> str:
    """Say the sentence into an open microphone; return its text, and print how late it came."""
    async with await WyomingClient.connect(server.uri) as client:
        await client.begin()
        await client.live(sentence(), open_for=12.0)
        answer = await client.answer()
    print(f"{what}: {answer.at - client.ended_at:.2f} s after the last word")
    return plain(answer)


async def test_a_dead_endpoint(tmp_path: Path) -> None:
    """The first sentence waits 1.5 s for it, the second not at all; it is warned of once."""
    async with await Process.serve(*DEAD, *LOCAL, home=tmp_path) as server:
        assert await say(server, "dead endpoint, first") == TEXT
        assert await say(server, "dead endpoint, second") == TEXT
        await server.wait_for(r"Utterance 2: end-of-turn.*endpoint local.*attempts 1,.*is down")
    assert "is loaded" in server.log[0]
    warnings = [line for line in server.log if "WARNING" in line]
    assert len(warnings) == 1
    assert "127.0.0.1:9 is down" in warnings[0]


@pytest.mark.parametrize("at", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "silent"])
async def test_flux_goes_in_the_sentence(tmp_path: Path, at: float, how: signal.Signals) -> None:
    """Killed, or silent as behind a dead line, 1 to 3 s into it: all of the sentence is there."""
    async with (
        await Process.simulate(*EAR, home=tmp_path) as flux,
        await Process.serve("--worker-url", flux.uri, *LOCAL, home=tmp_path) as server,
    ):

        async def go() -> None:
            await asyncio.sleep(at)
            flux.process.send_signal(how)

        going = asyncio.create_task(go())
        assert await say(server, f"{how.name} at {at:g} s") == TEXT
        await going
        assert "endpoint local" in await server.wait_for(r"(Utterance 1: .*)")


async def test_a_fault_of_native_code(tmp_path: Path) -> None:
    """The ear crashes in the sentence, and is the only endpoint: its successor hears all of it."""
    async with await Process.serve("--local", home=tmp_path) as server:

        async def crash() -> None:
            await asyncio.sleep(1.5)
            pid = server.process.pid
            (ear,) = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
            os.kill(int(ear), signal.SIGSEGV)

        crashing = asyncio.create_task(crash())
        assert await say(server, "crash at 1.5 s") == TEXT
        await crashing
        assert await say(server, "after the crash") == TEXT
        await server.wait_for(r"WARNING the ear on this machine has ended: SIGSEGV in native code")
        await server.wait_for(r"Utterance 2: .*endpoint local, attempts 1,")


async def test_a_signal_while_the_ear_loads(tmp_path: Path) -> None:
    """However long its model takes, the server ends when it is told to, and the ear with it."""
    async with await Process.serve("--local", ready=False, home=tmp_path) as server:
        pid = server.process.pid

        def ear() -> int | None:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
            lines = {one: Path(f"/proc/{one}/cmdline").read_bytes() for one in children}
            # Before it is that it is the server's own image.
            return next((int(one) for one in lines if b"wyoming_flux.ear" in lines[one]), None)

        async with asyncio.timeout(30):
            while (loading := ear()) is None:  # noqa: ASYNC110 - of a process nobody sets an event
                await asyncio.sleep(0.005)
        os.kill(loading, signal.SIGSTOP)
        assert await server.end(signal.SIGTERM, patience=10) == 0
        assert not [line for line in server.log if "loaded" in line]
        assert not Path(f"/proc/{loading}").exists()


async def test_a_second_flux(tmp_path: Path) -> None:
    """Another URL of Flux is a fallback as well, with the token of its own."""
    token = tmp_path / "token"
    token.write_text("s3cret-token")
    async with (
        await Process.simulate(*EAR, "--token-file", str(token), home=tmp_path) as flux,
        await Process.serve(
            *(*DEAD, "--fallback", flux.uri, "--fallback-token-file", str(token)), home=tmp_path
        ) as server,
    ):
        assert await say(server, "second Flux") == TEXT
        assert flux.uri.removeprefix("ws://") in await server.wait_for(r"endpoint (\S+),")


async def test_another_engine(tmp_path: Path) -> None:
    """A Wyoming engine of its own, which is a server of ours that has no Worker."""
    async with await Process.serve("--local", home=tmp_path) as engine:
        assert await say(engine, "local alone") == TEXT
        async with await Process.serve(*DEAD, "--fallback", engine.uri, home=tmp_path) as server:
            assert await say(server, "another engine") == TEXT
            await server.wait_for(rf"endpoint {engine.uri},")


async def test_used_up_minutes_and_a_wrong_token(tmp_path: Path) -> None:
    """What is used up is not asked at all; what is refused is left at once."""
    token = tmp_path / "token"
    token.write_text("s3cret-token")
    async with await Process.simulate(*EAR, "--token-file", str(token), home=tmp_path) as flux:
        wrong = ("--worker-url", flux.uri, *LOCAL)
        async with await Process.serve(*wrong, home=tmp_path) as server:
            assert await say(server, "wrong token") == TEXT
            assert "endpoint local" in await server.wait_for(r"(Utterance 1: .*)")
        limited = (*wrong, "--token-file", str(token), "--daily-minutes", "0.01")
        async with await Process.serve(*limited, home=tmp_path) as server:
            assert await say(server, "minutes, first") == TEXT
            assert await say(server, "minutes used up") == TEXT
            assert "127.0.0.1" in await server.wait_for(r"Utterance 1: .*endpoint (\S+),")
            assert "local" in await server.wait_for(r"Utterance 2: .*endpoint (\S+),")


async def test_a_flux_that_comes_back(tmp_path: Path) -> None:
    """It is tried beside the sentences, and asked first again; its return is told."""
    async with (
        await Process.simulate(*EAR, home=tmp_path) as flux,
        await Process.serve("--worker-url", flux.uri, *LOCAL, home=tmp_path) as server,
    ):
        flux.process.send_signal(signal.SIGSTOP)
        assert await say(server, "silent from the start") == TEXT
        flux.process.send_signal(signal.SIGCONT)
        await server.wait_for(r"works again", patience=60)
        assert await say(server, "back again") == TEXT
        assert "127.0.0.1" in await server.wait_for(r"Utterance 2: .*endpoint (\S+),")


async def test_transcribe_with_a_fallback(tmp_path: Path) -> None:
    """The command line has the same; ``--json`` says who answered, and why not the first."""
    ran = await transcribe(*DEAD, *LOCAL, "--json", str(SAMPLE), home=tmp_path)
    assert ran.code == 0, ran.stderr
    assert '"endpoint": "local"' in ran.stdout
    assert "cannot be reached" in ran.stdout
    assert "twenty degrees" in ran.stdout
