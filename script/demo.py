"""What script/demo does once the environment is there: starts the parts, plays, cleans up."""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import re
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from wyoming_flux.audio import AudioFormat, Level, PcmReader
from wyoming_flux.ear import usable_model
from wyoming_flux.errors import InvalidAudio

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "samples" / "turn_on_the_living_room_light.wav"
PROGRAM = [sys.executable, "-m", "wyoming_flux"]
START_TIMEOUT = 30.0
PLAY_TIMEOUT = 600.0
OFFLINE_AFTER = 1.5
AFTER_WORD = 0.1
"""Seconds after a word that still belong to it."""
LEAST_REST = 0.5
"""Seconds of a recording that may hold another sentence."""

Lines = AsyncIterator[str]


class Clock:
    """Time since the satellite connected, which is when its audio began."""

    began: float | None = None
    answered: float | None = None
    """When the transcript of the first sentence was there."""

    @property
    def now(self) -> float | None:
        """Seconds, None before that."""
        return None if self.began is None else time.monotonic() - self.began

    def __str__(self) -> str:
        """Return it, or "-" before that."""
        return "       -" if self.now is None else f"{self.now:6.2f} s"


CLOCK = Clock()


def show(who: str, what: str) -> None:
    """Print one event with its time."""
    print(f"{CLOCK}  {who:<10} {what}", flush=True)


class Part:
    """A process of the demo whose lines are shown."""

    def __init__(self, who: str, process: asyncio.subprocess.Process) -> None:
        """Take over a process with pipes."""
        self.who = who
        self.process = process

    async def lines(self, stream: asyncio.StreamReader) -> Lines:
        """Give the lines of one of the pipes."""
        while line := await stream.readline():
            yield line.decode(errors="replace").rstrip()

    async def wait_for(self, pattern: str, stream: asyncio.StreamReader) -> str:
        """Wait for the line that says where it listens. Raises RuntimeError if it does not come."""
        seen = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT):
                async for line in self.lines(stream):
                    seen.append(line)
                    if found := re.search(pattern, line):
                        return found.group(1)
        raise RuntimeError(f"the {self.who} did not start: {' '.join(seen) or 'no reason given'}")

    async def follow(self, stream: asyncio.StreamReader, clean: Callable[[str], str]) -> None:
        """Show what it says."""
        async for line in self.lines(stream):
            if text := clean(line):
                show(self.who, text)


async def start(
    stack: contextlib.AsyncExitStack,
    who: str,
    command: list[str],
    *,
    environment: Mapping[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
    stdin: int = asyncio.subprocess.DEVNULL,
) -> Part:
    """Start a process that is stopped, and waited for, when *stack* is left."""
    # The settings of a real server on this machine are not meant for what we start.
    ours = {k: v for k, v in os.environ.items() if not k.startswith("WYOMING_FLUX_")}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**ours, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), **(environment or {})},
        pass_fds=pass_fds,
        # Ctrl-C is for us; we stop the parts in order.
        start_new_session=True,
    )

    async def stop() -> None:
        if process.returncode is None:
            process.terminate()
            process.send_signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    stack.push_async_callback(stop)
    return Part(who, process)


def follow(
    stack: contextlib.AsyncExitStack,
    part: Part,
    stream: asyncio.StreamReader | None,
    clean: Callable[[str], str],
) -> None:
    """Show the lines of *stream* until *stack* is left."""
    if stream is None:
        raise RuntimeError("no pipe")
    task = asyncio.create_task(part.follow(stream, clean))
    stack.callback(task.cancel)


async def start_simulator(stack: contextlib.AsyncExitStack) -> tuple[str, Part]:
    """Start the simulator; return its URL."""
    part = await start(
        stack,
        "Flux",
        [*PROGRAM, "simulate", "--uri", "ws://127.0.0.1:0", "--recognizer", "local"],
    )
    out = part.process.stdout
    if out is None:
        raise RuntimeError("no pipe")
    url = await part.wait_for(r"listening on (ws://\S+)", out)
    show("Flux", f"the simulator at {url}; it hears with {ear()}")
    follow(stack, part, out, _flux_line)
    follow(stack, part, part.process.stderr, str)
    return url, part


async def start_worker(stack: contextlib.AsyncExitStack, upstream: str, token: str) -> str:
    """Start our Worker in workerd in front of *upstream*; return its URL."""
    folder = ROOT / "tests" / "e2e" / "worker"
    system = "darwin" if sys.platform == "darwin" else "linux"
    machine = "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "64"
    binary = folder / f"runtime/node_modules/@cloudflare/workerd-{system}-{machine}/bin/workerd"
    control, control_end = os.pipe()
    try:
        part = await start(
            stack,
            "Worker",
            [
                *(str(binary), "serve", "--experimental", str(folder / "worker.capnp"), "worker"),
                "--socket-addr=http=127.0.0.1:0",
                f"--external-addr=workers-ai={upstream.removeprefix('ws://')}",
                f"--control-fd={control_end}",
            ],
            environment={"FLUX_TOKEN": token},
            pass_fds=(control_end,),
        )
    finally:
        os.close(control_end)
    with os.fdopen(control, "rb") as told:
        async with asyncio.timeout(START_TIMEOUT):
            line = await asyncio.to_thread(told.readline)
    if not line:
        raise RuntimeError("the Worker did not start; script/setup worker may say why")
    url = f"ws://127.0.0.1:{json.loads(line)['port']}"
    show("Worker", f"worker/src/index.js in workerd at {url}")
    follow(stack, part, part.process.stdout, _worker_line)
    follow(stack, part, part.process.stderr, _worker_line)
    return url


async def start_server(stack: contextlib.AsyncExitStack, options: list[str]) -> str:
    """Start our server; return its URI."""
    part = await start(
        stack,
        "server",
        [*PROGRAM, "serve", "--uri", "tcp://127.0.0.1:0", *options],
    )
    err = part.process.stderr
    if err is None:
        raise RuntimeError("no pipe")
    uri = await part.wait_for(r"Listening on (tcp://\S+)", err)
    show("server", f"listening at {uri}")
    follow(stack, part, err, _server_line)
    return uri


async def take_away(flux: Part) -> None:
    """Let nothing come from Flux any more, and no word that it is gone, as a dead line does."""
    await asyncio.sleep(OFFLINE_AFTER)
    flux.process.send_signal(signal.SIGSTOP)
    show("network", "is gone: nothing comes from Flux any more")


def ear() -> str:
    """Name the model that hears on this machine."""
    return f"the ear on this machine (Moonshine {usable_model(None).kind}, English)"


def read_wav(file: Path) -> tuple[AudioFormat, bytes]:
    """Return what a WAV holds. Raises InvalidAudio."""
    reader = PcmReader(None)
    pcm = reader.feed(file.read_bytes())
    reader.finish()
    if reader.format is None:
        raise RuntimeError("a WAV without a format")
    return reader.format, pcm


async def hear_rest(
    stack: contextlib.AsyncExitStack, uri: str, file: Path, answer: dict[str, object]
) -> str:
    """Ask for what *file* holds beyond the sentence that was answered; return its text."""
    source, pcm = read_wav(file)
    heard, after = answer["audio_seconds"], answer["after_speech_ms"]
    if not isinstance(heard, (int, float)) or not isinstance(after, (int, float)):
        return ""
    # From where the sentence ended: somebody may have gone on before its text was there.
    begin = round((heard - after / 1000 + AFTER_WORD) * source.rate) * source.frame_bytes
    rest = pcm[begin:]
    level = Level(source)
    level.feed(rest, 0.0)
    if len(rest) < LEAST_REST * source.bytes_per_second or level.spoke_at is None:
        return ""
    seconds = len(rest) / source.bytes_per_second
    show("satellite", f"has the first sentence; now the other {seconds:.1f} s, all at once")
    raw = f"{source.rate}:{8 * source.width}:{source.channels}"
    command = [*PROGRAM, "transcribe", "-", "--raw", raw, "--via", uri, "--fast", "--json"]
    part = await start(stack, "satellite", command, stdin=asyncio.subprocess.PIPE)
    async with asyncio.timeout(PLAY_TIMEOUT):
        said, _ = await part.process.communicate(rest)
    found = json.loads(said) if said.strip() else {}
    return str(found.get("text") or "")


async def play(
    stack: contextlib.AsyncExitStack, uri: str, file: Path, flux: Part | None
) -> dict[str, object] | None:
    """Play *file* as a satellite would; return the answer. *flux* is taken away meanwhile."""
    show("satellite", f"plays {file.name} in real time, 10 ms at a time")
    part = await start(
        stack,
        "satellite",
        [*PROGRAM, "transcribe", "--via", uri, "--json", "--verbose", str(file)],
    )
    out, err = part.process.stdout, part.process.stderr
    if out is None or err is None:
        raise RuntimeError("no pipe")
    async with asyncio.timeout(PLAY_TIMEOUT):
        async for line in part.lines(err):
            # The first thing it does once it is connected is to send audio.
            if CLOCK.began is None and "connected" in line:
                CLOCK.began = time.monotonic()
                if flux is not None:
                    stack.callback(asyncio.create_task(take_away(flux)).cancel)
            said = re.sub(r"^ *[\d.]+ s  ", "", line)
            if said == "transcript":
                CLOCK.answered = CLOCK.now
            # Early words are guesses: what they become is in the transcript.
            if not said.startswith("words so far"):
                show("satellite", said)
        answer = await out.read()
        await part.process.wait()
    found = json.loads(answer) if answer.strip() else None
    return found if isinstance(found, dict) else None


async def demo(arguments: argparse.Namespace) -> int:
    """Run it; return the exit code."""
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    flux = None
    async with contextlib.AsyncExitStack() as stack:
        if arguments.worker_url:
            options = ["--worker-url", arguments.worker_url]
            if arguments.token_file:
                options += ["--token-file", str(arguments.token_file)]
            show("Flux", f"the real one, behind {arguments.worker_url}")
        else:
            url, part = await start_simulator(stack)
            # The simulator plays Workers AI; a Worker would say of itself that it is ours.
            options = ["--worker-url", url, "--route", "workers-ai"]
            if arguments.worker:
                token = secrets.token_hex(16)
                url = await start_worker(stack, url, token)
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                path = Path(folder) / "token"
                path.write_text(token)
                options = ["--worker-url", url, "--token-file", str(path)]
            if arguments.offline:
                flux = part
                options += ["--fallback", "local"]
        uri = await start_server(stack, options)
        answer = await play(stack, uri, arguments.file, flux)
        rest = ""
        if answer is not None and answer.get("text"):
            rest = await hear_rest(stack, uri, arguments.file, answer)
        # What the other parts say about the end of the turn is on its way.
        await asyncio.sleep(0.2)
    print()
    if answer is None or not answer.get("text"):
        error = answer.get("error") if answer else None
        print(f"No transcript: {error or 'nothing was heard'}.")
        return 1
    if rest:
        print("The recording holds more than one sentence; a satellite gets one at a time.")
        print(f"First:       {answer['text']}")
        print(f"Then:        {rest}")
    else:
        print(f"Transcript:  {answer['text']}")
    if arguments.worker_url:
        why = "Flux, and the way to it"
    elif arguments.offline:
        why = "Flux was silent until the server gave it up; then the ear here heard it all anew"
    else:
        why = "0.32 s are the simulator's silence before EndOfTurn, the rest is the ear and the way"
    after, at = answer["after_speech_ms"], CLOCK.answered
    if isinstance(after, (int, float)) and at is not None:
        last = at - after / 1000
        print(
            f"Times:       last word until {last:.2f} s, text at {at:.2f} s,"
            f" {at - last:.2f} s later"
        )
        print(f"             ({why})")
    return 0


def _server_line(line: str) -> str:
    line = re.sub(r"^[\d-]+ [\d:,]+ [A-Z]+ ", "", line)
    # The figures of each utterance are for a log; ours come at the end.
    return "" if line.startswith("Utterance") else line


def _flux_line(line: str) -> str:
    """What Flux tells and is told, without what goes without saying."""
    line = re.sub(r"^[\d:.]+ #\d+ +", "", line)
    if line.startswith("closes with") or "client: CloseStream" in line:
        return ""
    told = re.fullmatch(r"([\d.]+) s (StartOfTurn|EndOfTurn): (.*)", line)
    if told is None:
        return line
    heard, event, text = told.groups()
    # The first words of a small model are a guess, and look like a fault.
    return f"{event} after {heard} s of audio" + (f": {text}" if event == "EndOfTurn" else "")


def _worker_line(line: str) -> str:
    return line if "error" in line.lower() else ""


def main() -> int:
    """Parse, run, end quietly on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="script/demo", add_help=False)
    parser.add_argument("file", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--worker-url")
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--offline", action="store_true")
    arguments = parser.parse_args()
    if not arguments.file.is_file():
        print(f"demo: there is no file {arguments.file}", file=sys.stderr)
        return 2
    try:
        read_wav(arguments.file)
    except InvalidAudio as error:
        print(f"demo: {arguments.file}: {error}", file=sys.stderr)
        return 2
    if arguments.token_file is not None:
        if not arguments.worker_url:
            print("demo: --token-file is for --worker-url", file=sys.stderr)
            return 2
        if not arguments.token_file.is_file():
            print(f"demo: there is no file {arguments.token_file}", file=sys.stderr)
            return 2
    if arguments.worker_url and (arguments.worker or arguments.offline):
        print("demo: --worker-url is for the real Flux, the others for none", file=sys.stderr)
        return 2
    try:
        return asyncio.run(demo(arguments))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("demo: stopped", file=sys.stderr)
        return 130
    except (RuntimeError, TimeoutError) as error:
        print(f"demo: {str(error) or 'it took too long'}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
