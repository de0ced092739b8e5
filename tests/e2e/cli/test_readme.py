"""The commands of the README, in a clean clone, as far as they run without the internet."""

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from wyoming_flux.simulator import Simulator

ROOT = Path(__file__).parents[3]
TIMEOUT = 120.0
TEXT = "Turn on the living room light."
SECOND = "Close the garage door."
README = (ROOT / "README.md").read_text("utf-8")

# What stands in the README, and what is run for it: {flux} is a simulator that asks for a token.
COMMANDS = {
    "script/demo": "script/demo",
    "script/demo my.wav": "script/demo my.wav",
    "script/demo --offline": "script/demo --offline",
    "script/demo --worker-url https://… --token-file flux-token.txt my.wav": (
        "script/demo --worker-url {flux} --token-file flux-token.txt my.wav"
    ),
    "wyoming-flux check": "wyoming-flux check",
    "wyoming-flux transcribe FILE.wav": "wyoming-flux transcribe my.wav",
}
SERVER = "wyoming-flux serve --local"
CLIENT = (
    "wyoming-flux transcribe --via tcp://127.0.0.1:10300 samples/turn_on_the_living_room_light.wav"
)
NOT_HERE = {
    SERVER: "with its client, below",
    f"{SERVER} &": "with its client, below",
    CLIENT: "below",
    "script/test": "it is what runs this",
    "wyoming-flux deploy": "needs an account; tests/e2e/worker has one on paper",
}


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Awaitable[Result]]
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git knows, and nothing else."""
    folder = tmp_path_factory.mktemp("clone")
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    for name in filter(None, names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    two = [
        f"samples/{name}.wav" for name in ("turn_on_the_living_room_light", "close_the_garage_door")
    ]
    shutil.copy(folder / two[0], folder / "my.wav")
    _join(folder / "two.wav", [folder / name for name in two])
    (folder / "flux-token.txt").write_text("t0ken\n")
    return folder


def _join(path: Path, parts: list[Path]) -> None:
    import wave

    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        for part in parts:
            with wave.open(str(part)) as one:
                out.writeframes(one.readframes(one.getnframes()) + bytes(16000))


@pytest.fixture
async def start(clone: Path) -> AsyncIterator[Start]:
    """Start a line in the clone, with the Python that its set-up would have made."""
    processes: list[asyncio.subprocess.Process] = []

    async def begin(line: str, **env: str) -> asyncio.subprocess.Process:
        name, *arguments = shlex.split(line)
        # script/demo is set-up, which needs the internet, and this.
        what = ["script/demo.py"] if name == "script/demo" else ["-m", "wyoming_flux"]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("WYOMING_FLUX_")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *what, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=clone,
            env={**inherited, "PYTHONPATH": str(clone), "XDG_STATE_HOME": str(clone), **env},
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.fixture
def run(start: Start) -> Run:
    """Run a line to its end."""

    async def to_the_end(line: str, **env: str) -> Result:
        process = await start(line, **env)
        async with asyncio.timeout(TIMEOUT):
            out, err = await process.communicate()
        return Result(process.returncode or 0, out.decode(), err.decode())

    return to_the_end


def commands_of(text: str) -> set[str]:
    """Return the commands of ours that a page names: in code spans, and lines of code blocks."""
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    blocks = [
        line
        for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    named = (one.strip() for one in (*spans, *blocks))
    return {one for one in named if re.match(r"(script/\w|wyoming-flux )", one)}


def test_each_command_of_the_readme_is_run_or_has_a_reason() -> None:
    """Whoever adds one to the README adds it here."""
    assert commands_of(README) == {*COMMANDS, *NOT_HERE}


@pytest.mark.parametrize("command", COMMANDS)
async def test_the_readmes_commands_run(command: str, run: Run) -> None:
    """Each does in a clean clone what the README says."""
    async with Simulator(recognizer="local", token="t0ken") as flux:
        line = COMMANDS[command].format(flux=flux.url)
        env = {"WYOMING_FLUX_WORKER_URL": flux.url, "WYOMING_FLUX_TOKEN_FILE": "flux-token.txt"}
        result = await run(line, **(env if line.startswith("wyoming") else {}))
    assert result.code == 0, result
    assert "Traceback" not in result.err
    match command.split():
        case "script/demo", *_:
            assert f"Transcript:  {TEXT}\n" in result.out
        case _, "transcribe", *_:
            assert result.out == f"{TEXT}\n"
        case _, "check":
            assert "Verdict:                Flux heard" in result.out


async def test_a_server_without_an_account(start: Start, run: Run) -> None:
    """The README's server hears a recording of its client, with the ear on this machine alone."""
    server = await start(f"{SERVER} --uri tcp://127.0.0.1:0")
    assert server.stderr is not None
    async with asyncio.timeout(TIMEOUT):
        while not (
            found := re.search(r"Listening on (\S+)", (await server.stderr.readline()).decode())
        ):
            pass
    result = await run(CLIENT.replace("tcp://127.0.0.1:10300", found.group(1)))
    assert (result.code, result.out) == (0, f"{TEXT}\n"), result.err
    server.terminate()
    await server.communicate()
    assert server.returncode == 0


def test_the_demo_does_its_set_up() -> None:
    """It is the one command: it asks for nothing to be done before."""
    assert "\nscript/setup demo\n" in (ROOT / "script" / "demo").read_text("utf-8")


async def test_the_demos_times_add_up(run: Run) -> None:
    """The last word, the text and what is between them are of one clock."""
    result = await run("script/demo")
    found = re.search(
        r"last word until ([\d.]+) s, text at ([\d.]+) s, ([\d.]+) s later", result.out
    )
    assert found is not None, result
    last, text, later = map(float, found.groups())
    assert text - last == pytest.approx(later, abs=0.011)
    assert last == pytest.approx(2.27, abs=0.1), "where the sample's last word ends"
    shown = re.search(r"([\d.]+) s  satellite  transcript\n", result.out)
    assert shown is not None
    assert float(shown.group(1)) == pytest.approx(text, abs=0.011)
    for fault in ("1005", "1006", "Turned on", "WARNING", "ERROR", "words so far"):
        assert fault not in result.out
    assert "(Moonshine tiny, English)" in result.out


async def test_the_demo_gives_all_sentences(run: Run) -> None:
    """A recording of two is said to be one, and none of it is lost."""
    result = await run("script/demo two.wav")
    assert "holds more than one sentence" in result.out
    assert f"First:       {TEXT}\n" in result.out
    assert f"Then:        {SECOND}\n" in result.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--worker-url ws://127.0.0.1:1 --token-file nowhere", "there is no file nowhere"),
        ("--token-file flux-token.txt", "--token-file is for --worker-url"),
        ("nowhere.wav", "there is no file nowhere.wav"),
        ("README.md", "README.md: This is not a WAV"),
        ("--offline --worker-url ws://127.0.0.1:1", "--worker-url is for the real Flux"),
    ],
)
async def test_the_demo_refuses_what_cannot_work(arguments: str, said: str, run: Run) -> None:
    """Before anything is started, in one sentence."""
    result = await run(f"script/demo {arguments}")
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert result.err.count("\n") == 1
