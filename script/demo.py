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

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "samples" / "turn_on_the_living_room_light.wav"
PROGRAM = [sys.executable, "-m", "wyoming_flux"]
START_TIMEOUT = 30.0
PLAY_TIMEOUT = 600.0
OFFLINE_AFTER = 1.5

Lines = AsyncIterator[str]


class Clock:
    """Time since the audio began."""

    began: float | None = None

    def __str__(self) -> str:
        """Return it, or "-" before that."""
        return "       -" if self.began is None else f"{time.monotonic() - self.began:6.2f} s"


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
) -> Part:
    """Start a process that is stopped, and waited for, when *stack* is left."""
    # The settings of a real server on this machine are not meant for what we start.
    ours = {k: v for k, v in os.environ.items() if not k.startswith("WYOMING_FLUX_")}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
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
    show("Flux", f"the simulator, with the ear on this machine, at {url}")
    follow(stack, part, out, lambda line: re.sub(r"^[\d:.]+ #\d+ +", "", line))
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
    follow(stack, part, err, lambda line: re.sub(r"^[\d-]+ [\d:,]+ [A-Z]+ ", "", line))
    return uri


async def take_away(flux: Part) -> None:
    """Let nothing come from Flux any more, and no word that it is gone, as a dead line does."""
    await asyncio.sleep(OFFLINE_AFTER)
    flux.process.send_signal(signal.SIGSTOP)
    show("network", "is gone: nothing comes from Flux any more")


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
            show("satellite", re.sub(r"^ *[\d.]+ s  ", "", line))
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
                options += ["--token-file", arguments.token_file]
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
        # What the other parts say about the end of the turn is on its way.
        await asyncio.sleep(0.2)
    print()
    if answer is None or not answer.get("text"):
        error = answer.get("error") if answer else None
        print(f"No transcript: {error or 'nothing was heard'}.")
        return 1
    print(f"Transcript:           {answer['text']}")
    after = answer["after_speech_ms"]
    if isinstance(after, (int, float)):
        print(f"After the last word:  {after / 1000:.2f} s")
        if arguments.offline:
            print("                      (the ear heard it all anew, once Flux had been silent)")
        elif not arguments.worker_url:
            print(
                "                      (0.32 s are the simulator's silence before EndOfTurn;"
                " the rest is the ear and the path)"
            )
    return 0


def _worker_line(line: str) -> str:
    return line if "error" in line.lower() else ""


def main() -> int:
    """Parse, run, end quietly on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="script/demo", add_help=False)
    parser.add_argument("file", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--worker-url")
    parser.add_argument("--token-file")
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--offline", action="store_true")
    arguments = parser.parse_args()
    if not arguments.file.is_file():
        print(f"demo: there is no file {arguments.file}", file=sys.stderr)
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
