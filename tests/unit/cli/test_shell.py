"""What a shell does to a command: closed and full streams, signals, terminals."""

import asyncio
import fcntl
import os
import re
import signal
import struct
import termios

import pytest

from tests.unit.cli.conftest import TEXT, TIMEOUT
from wyoming_flux.cli.options import COMMANDS
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.faults import Stall

pytestmark = pytest.mark.slow

FULL = "No space left on device"
CLOSED = "Bad file descriptor"

# Command, what the shell does, exit code, what standard error says.
STREAMS = {
    "no input": ("transcribe - {at}", "<&-", 1, f"-: cannot be read: {CLOSED}"),
    "empty input": ("transcribe - {at}", "</dev/null", 1, "There is no audio in it"),
    "input not needed": ("transcribe {wav} {at}", "<&-", 0, ""),
    "no output": ("transcribe {wav} {at}", ">&-", 1, f"standard output: {CLOSED}"),
    "no output, help": ("--help", ">&-", 1, f"standard output: {CLOSED}"),
    "no output, version": ("--version", ">&-", 1, f"standard output: {CLOSED}"),
    "no output, check": ("check {at}", ">&-", 1, f"standard output: {CLOSED}"),
    "no output, and a mistake": ("serve --nothing", ">&-", 2, "unknown option --nothing"),
    "full": ("transcribe {wav} {at}", ">/dev/full", 1, f"standard output: {FULL}"),
    "full, json": ("transcribe {wav} --json {at}", ">/dev/full", 1, f"standard output: {FULL}"),
    "full, help": ("transcribe --help", ">/dev/full", 1, f"standard output: {FULL}"),
    "full, simulate": (
        "simulate --recognizer script --uri ws://127.0.0.1:0",
        ">/dev/full",
        1,
        FULL,
    ),
    "no error stream": ("transcribe {wav} {at}", "2>&-", 0, ""),
    "no error stream, and a mistake": ("transcribe", "2>&-", 2, ""),
    "nothing open": ("transcribe {wav} {at}", "<&- >&- 2>&-", 1, ""),
}


@pytest.mark.parametrize("case", STREAMS)
async def test_streams_that_are_closed_or_full(case, run, wav, spoken, at) -> None:
    """One sentence and the right exit code, never a traceback; what is not needed is not missed."""
    line, redirect, code, said = STREAMS[case]
    words = line.format(wav=wav(spoken(0.3, 1.6, 0.6)), at=" ".join(at)).split()
    result = await run(*words, redirect=redirect)
    assert result.code == code, result.err
    assert said in result.err
    assert result.err.count("\n") == (1 if said else 0), result.err


@pytest.mark.parametrize("line", ["transcribe {wav} {at}", "--help", "check {at}"])
async def test_output_that_nobody_reads(line, start, wav, spoken, at) -> None:
    """``wyoming-flux … | true`` ends without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    words = line.format(wav=wav(spoken(0.3, 1.6, 0.6)), at=" ".join(at)).split()
    process = await start(*words, stdout=writing)
    os.close(writing)
    result = await process.end()
    assert (result.code, result.err) == (1, "")


async def test_a_simulator_that_nobody_listens_to(start, run) -> None:
    """``wyoming-flux simulate … | head -1`` ends with the next thing that it would say."""
    reading, writing = os.pipe()
    words = ("simulate", "--recognizer", "script", "--uri", "ws://127.0.0.1:0")
    simulator = await start(*words, stdout=writing)
    os.close(writing)
    with os.fdopen(reading) as said:
        url = (await asyncio.to_thread(said.readline)).split()[-1]
    await run("check", "--worker-url", url, "--route", "workers-ai")
    result = await simulator.end()
    assert (result.code, result.err) == (1, "")


async def test_a_server_needs_no_streams(serve, run, flux, wav, spoken) -> None:
    """A server that was started without standard input and output serves."""
    server, uri = await serve(flux.url, redirect="<&- >&-")
    result = await run("transcribe", "--via", uri, "--fast", wav(spoken(0.3, 1.6, 0.6)))
    assert result.out == f"{TEXT}\n"
    assert (await server.end(signal.SIGTERM)).code == 0


async def test_ctrl_c_ends_a_file(start, wav, spoken) -> None:
    """The first one ends it, without a traceback and without a text."""
    async with Simulator(faults=[Stall(after=0.0)]) as flux:
        at = ("--worker-url", flux.url, "--route", "workers-ai", "--verbose")
        process = await start("transcribe", wav(spoken(0.3, 1.6, 0.6)), *at)
        await process.wait_for("connecting to")
        result = await process.end(signal.SIGINT)
    assert (result.code, result.out) == (130, "")
    assert "Traceback" not in result.err


async def test_a_second_ctrl_c_does_not_wait(start, spoken) -> None:
    """The first ends the microphone and waits for the text, the second waits for nothing."""
    hears = asyncio.Event()  # else the first could come before any audio was read

    def observe(_: object, line: str) -> None:
        if "fault: Stall" in line:
            hears.set()

    async with Simulator(faults=[Stall(after=0.1)], observe=observe) as flux:
        at = ("--worker-url", flux.url, "--route", "workers-ai", "--verbose")
        process = await start("transcribe", "-", "--raw", "16000:16:1", *at)
        process.process.stdin.write(spoken(0.5))
        async with asyncio.timeout(TIMEOUT):
            await hears.wait()
        process.process.send_signal(signal.SIGINT)
        await process.wait_for("Ctrl-C: the audio ends")
        result = await process.end(signal.SIGINT)
    assert (result.code, result.out) == (130, "")
    assert "Traceback" not in result.err


async def test_a_second_ctrl_c_does_not_wait_for_a_thread(start, at, tmp_path) -> None:
    """A pipe by name, to which nobody writes, cannot be given up; the process can."""
    os.mkfifo(tmp_path / "pipe")
    process = await start("transcribe", "pipe", *at)
    async with asyncio.timeout(TIMEOUT):
        # Opening it for writing waits until the process has opened it for reading.
        writing = await asyncio.to_thread(os.open, tmp_path / "pipe", os.O_WRONLY)
        ended = asyncio.create_task(process.end())
        while not ended.done():
            process.process.send_signal(signal.SIGINT)
            await asyncio.wait((ended,), timeout=0.2)
    os.close(writing)
    result = await ended
    # A shell says 130 of one that a signal ended as well: it may come when Python is all but gone.
    assert result.code in (130, -signal.SIGINT)
    assert (result.out, result.err) == ("", "")


class Screen:
    """A terminal, as one stream of a process; it has 40 columns, or does not know."""

    def __init__(self, *, sized: bool = True) -> None:
        self.master, self.slave = os.openpty()
        if not sized:
            return
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("4H", 10, 40, 0, 0))

    async def text(self) -> str:
        """Return all that was written, once the process has ended."""
        os.close(self.slave)
        said = b""
        try:
            while data := await asyncio.to_thread(os.read, self.master, 4096):
                said += data
        except OSError:
            pass  # how Linux tells that nobody writes any more
        os.close(self.master)
        return said.decode()


def looks_like(written: str, columns: int) -> list[str]:
    """Return what stands on a screen of so many columns after all of it was written."""
    rows, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[\d*[A-Za-z]|[^\x1b]", written):
        if part == "\x1b[J":
            rows[row:] = [rows[row][:column]]
        elif part == "\x1b[K":
            rows[row] = rows[row][:column]
        elif part.startswith("\x1b"):
            assert part.endswith("A"), part
            row -= int(part[2:-1])
        elif part == "\r":
            column = 0
        else:
            if part == "\n" or column == columns:
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            if part != "\n":
                rows[row] = rows[row][:column].ljust(column) + part + rows[row][column + 1 :]
                column += 1
    return rows


@pytest.mark.parametrize("columns", [40, 80])
async def test_a_revised_text_replaces_the_first(columns, start, wav, spoken, tmp_path) -> None:
    """On a terminal words come early; the right ones take the place of wrong ones."""
    (tmp_path / "revised.toml").write_text(
        "[[turn]]\n"
        'text = "the light in the living room shall be turned on now please"\n'
        'interim = "a lie inn the living broom shell bee turned on now peas and"\n'
    )
    simulator = await start(
        *("simulate", "--uri", "ws://127.0.0.1:0", "--ingest-rate", "0"),
        *("--recognizer", "script", "--script", "revised.toml"),
    )
    assert simulator.process.stdout is not None
    line = (await simulator.process.stdout.readline()).decode()
    url = line.split()[-1]
    # One that does not tell its columns is taken to have 80.
    screen = Screen(sized=columns == 40)
    process = await start(
        "transcribe", wav(spoken(0.3, 4.0, 1.0)), "--worker-url", url, "--route", "workers-ai",
        "--real-time", stdout=screen.slave,
    )  # fmt: skip
    result = await process.end()
    written = await screen.text()
    assert result.code == 0, result.err
    assert "a lie inn" in written
    text = "the light in the living room shall be turned on now please"
    rows = [text[:columns], text[columns:], ""] if columns < len(text) else [text, ""]
    assert [row.rstrip() for row in looks_like(written, columns)] == rows


async def test_progress_is_what_was_heard(start, wav, spoken) -> None:
    """A minute that is sent at once and heard in three seconds does not stand at its end."""
    screen = Screen()
    async with Simulator(ingest_rate=20) as flux:
        process = await start(
            *("transcribe", wav(spoken(*[0.5, 1.5] * 30))),
            *("--worker-url", flux.url, "--route", "workers-ai"),
            stderr=screen.slave,
        )
        result = await process.end()
    written = await screen.text()
    assert result.code == 0
    assert "1:00 of audio, about $0.01 at Cloudflare's $0.0077 a minute" in written
    shares = [int(one) for one in re.findall(r" of 1:00 heard \((\d+)%\)", written)]
    assert len(set(shares)) > 5
    assert shares == sorted(shares)
    assert sum(share < 50 for share in shares) > 2
    assert shares.count(100) <= 1


@pytest.mark.parametrize("command", ["", *COMMANDS])
async def test_no_colour_where_nobody_wants_it(command, start) -> None:
    """With NO_COLOR, on a dumb terminal and in a pipe the help is plain."""
    for env in ({"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}):
        screen = Screen()
        process = await start(*command.split(), "--help", stdout=screen.slave, **env)
        assert (await process.end()).code == 0
        assert "\x1b" not in await screen.text()
    process = await start(*command.split(), "--help", TERM="xterm")
    assert "\x1b" not in (await process.end()).out
