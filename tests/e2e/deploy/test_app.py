"""The Home Assistant app: its options are the server's settings, and its entry point obeys them."""

import asyncio
import importlib.util
import json
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from websockets.asyncio.server import ServerConnection, serve
from wyoming.asr import Transcript
from wyoming.event import async_read_event, async_write_event
from wyoming.info import AsrProgram, Attribution, Info

from tests.support.paper_home import TOKEN, PaperHome
from tests.support.processes import Process
from wyoming_flux.cli.options import SETTINGS
from wyoming_flux.declare import Setting

ROOT = Path(__file__).parents[3]
APP = ROOT / "deploy" / "app"
CONFIG: dict[str, Any] = yaml.safe_load((APP / "config.yaml").read_text("utf-8"))

NOT_IN_THE_APP = {
    "uri": "the Supervisor maps the port",
    "zeroconf": "the Supervisor tells Home Assistant",
    "quiet": "the Supervisor keeps the log, and does not show it unasked",
    "home_assistant": "the Supervisor leads there; home_names turns it off",
    "home_assistant_token": "the Supervisor's own",
    "keyterms_file": "the app shows no files; keyterm is a list",
    "capture": "the app shows no files",
    "capture_text_only": "the app shows no files",
    "local_model": "the app shows no files",
}


def kind_of(setting: Setting) -> object:
    """Say what the Supervisor must accept for a setting, in its own words."""
    if setting.choices:
        kind = f"list({'|'.join(map(str, setting.choices))})"
    elif setting.kind == "switch":
        kind = "bool"
    elif setting.kind in ("number", "whole"):
        kind = "int" if setting.kind == "whole" else "float"
        if setting.limits is not None:
            kind += "({:.10g},{:.10g})".format(*setting.limits)
    else:
        kind = "password" if setting.secret else "str"
    return [f"{kind}?"] if setting.kind == "texts" else f"{kind}?"


def test_options_are_the_settings() -> None:
    """Every setting of the server is an option under its own name, with its range; no other is."""
    expected = {
        one.option: kind_of(one)
        for one in SETTINGS["serve"].values()
        if one.option not in NOT_IN_THE_APP
    }
    # As in the integration: the name, and that it is on.
    expected["home_names"] = "bool"
    assert CONFIG["options"]["home_names"] is True
    assert CONFIG["schema"] == expected
    assert set(CONFIG["options"]) <= set(CONFIG["schema"])


def test_every_option_has_a_text() -> None:
    """The dialogue shows names and explanations, not the keys alone."""
    texts = yaml.safe_load((APP / "translations" / "en.yaml").read_text("utf-8"))["configuration"]
    assert list(texts) == list(CONFIG["schema"])
    assert all(text["name"] and text["description"] for text in texts.values())


def test_the_app_asks_for_nothing_it_does_not_need() -> None:
    """No privileges, and what the Supervisor does by itself is left to it."""
    assert CONFIG["discovery"] == ["wyoming"]
    assert CONFIG["arch"] == ["amd64", "aarch64"]
    unwanted = {"init", "watchdog", "privileged", "full_access", "host_network", "hassio_api"}
    assert not unwanted & set(CONFIG)
    # For the names of the home.
    assert CONFIG["homeassistant_api"] is True


def test_the_store_finds_one_app() -> None:
    """The Supervisor takes every config.yaml or config.json of a repository for an app."""
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    found = [
        path
        for path in files.stdout.splitlines()
        if Path(path).name in ("config.yaml", "config.yml", "config.json")
    ]
    assert found == ["deploy/app/config.yaml"]
    assert yaml.safe_load((ROOT / "repository.yaml").read_text("utf-8"))["url"] == CONFIG["url"]


@pytest.fixture
def start() -> ModuleType:
    """The entry point, as a module."""
    spec = importlib.util.spec_from_file_location("start", APP / "start.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_options_become_variables(start: ModuleType) -> None:
    """Lists become lines, switches words; what is empty is left to the server's default."""
    options = {
        "worker_url": "wss://flux.example",
        "keyterm": ["Kitchen", "Hall"],
        "max_turn": 12.5,
        "debug": False,
        "external_vad": True,
        "tag": "",
        "allow": [],
        "language": None,
    }
    assert start.variables(options) == {
        "WYOMING_FLUX_WORKER_URL": "wss://flux.example",
        "WYOMING_FLUX_KEYTERM": "Kitchen\nHall",
        "WYOMING_FLUX_MAX_TURN": "12.5",
        "WYOMING_FLUX_DEBUG": "no",
        "WYOMING_FLUX_EXTERNAL_VAD": "yes",
    }


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users may look into, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


# Becoming another user needs root, which a person at a desk has not; CI never leaves this out.
@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="needs root")
@pytest.mark.parametrize("home_names", [None, True, False])
def test_root_reads_the_options_and_nobody_serves(place: Path, home_names: bool | None) -> None:
    """Options that root alone can read reach a server that can neither read them nor the token.

    Where names are wanted the server gets the token, in its environment alone.
    """
    data = place / "data"
    data.mkdir()
    options = {"worker_url": "wss://flux.example", "home_names": home_names}
    (data / "options.json").write_text(
        json.dumps({name: value for name, value in options.items() if value is not None})
    )
    (data / "options.json").chmod(0o600)
    server = place / "wyoming-flux"
    server.write_text(
        "#!/bin/sh\n"
        'echo "$(id -u) $(id -g) $(id -G) $* $WYOMING_FLUX_WORKER_URL ${SUPERVISOR_TOKEN-none}"\n'
        f"cat {data}/options.json 2>/dev/null || echo unreadable\n"
        'touch "$STATE_DIRECTORY/minutes" && echo written\n'
        'echo "${WYOMING_FLUX_HOME_ASSISTANT-nowhere} ${WYOMING_FLUX_HOME_ASSISTANT_TOKEN-none}"\n'
    )
    server.chmod(0o755)
    code = (
        "import sys, importlib.util as u; from pathlib import Path\n"
        "spec = u.spec_from_file_location('start', sys.argv[1]); m = u.module_from_spec(spec)\n"
        "spec.loader.exec_module(m); m.DATA = Path(sys.argv[2]); m.USER = 'nobody'\n"
        "m.announce = lambda *arguments: False\n"
        "m.main()\n"
    )
    environment = {"PATH": f"{place}:/usr/bin:/bin", "SUPERVISOR_TOKEN": "secret"}
    ran = subprocess.run(
        [sys.executable, "-c", code, APP / "start.py", data],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    user = pwd.getpwnam("nobody")
    ids = f"{user.pw_uid} {user.pw_gid} {user.pw_gid}"
    asks = "nowhere none" if home_names is False else "http://supervisor/core/websocket secret"
    assert ran.stdout.splitlines() == [
        f"{ids} serve wss://flux.example none",
        "unreadable",
        "written",
        asks,
    ]
    assert "secret" not in ran.stderr


async def test_names_come_over_the_supervisor(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A real server with the app's environment signs in there; no token in its log or line."""
    home = PaperHome()

    async def answer(socket: ServerConnection) -> None:
        assert socket.request is not None
        assert socket.request.path == "/core/websocket"
        await socket.send(home.hello)
        async for frame in socket:
            for said in home.answer(str(frame)):
                await socket.send(said)

    (tmp_path / "options.json").write_text('{"worker_url": "ws://127.0.0.1:9", "debug": true}')
    monkeypatch.setenv("SUPERVISOR_TOKEN", TOKEN)
    async with serve(answer, "127.0.0.1", 0) as supervisor:
        port = supervisor.sockets[0].getsockname()[1]
        monkeypatch.setattr(start, "SUPERVISOR", f"http://127.0.0.1:{port}")
        environment = start.prepare(tmp_path, pwd.getpwuid(os.getuid()))
        monkeypatch.delenv("SUPERVISOR_TOKEN")
        async with await Process.serve(home=tmp_path, environment=environment) as server:
            await server.wait_for("Names of the home: Kitchen, Galley")
            command_line = Path(f"/proc/{server.process.pid}/cmdline").read_bytes().decode()
    assert TOKEN not in command_line + "\n".join(server.log)


class Supervisor:
    """Stands in for the Supervisor's API on loopback."""

    def __init__(self, *, refuses: int = 0) -> None:
        """Take the status of a refusal, if it is to refuse."""
        self.status = refuses or 200
        self.heard: list[tuple[str, str, Any]] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
        body = json.loads(await reader.readexactly(int(fields["Content-Length"])))
        self.heard.append((head.splitlines()[0], fields["Authorization"], body))
        writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        await writer.drain()
        writer.close()


class Engine:
    """A Wyoming server that knows of itself only from the second question on."""

    asked = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a Describe, the first with something else."""
        await async_read_event(reader)
        self.asked += 1
        by = Attribution(name="", url="")
        program = AsrProgram(
            name="flux", attribution=by, installed=True, description="", version="", models=[]
        )
        event = Info(asr=[program]).event() if self.asked > 1 else Transcript(text="").event()
        await async_write_event(event, writer)
        writer.close()


@pytest.mark.parametrize(("refuses", "told"), [(0, True), (403, False)])
async def test_the_supervisor_is_told_once_the_server_answers(
    start: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    refuses: int,
    told: bool,
) -> None:
    """Not before Describe is answered; with the token, and where the server is; a no is said."""
    monkeypatch.setattr(start, "_PAUSE", 0)
    monkeypatch.setattr("socket.gethostname", lambda: "local-wyoming-flux")
    supervisor, engine = Supervisor(refuses=refuses), Engine()
    api = await asyncio.start_server(supervisor.answer, "127.0.0.1", 0)
    server = await asyncio.start_server(engine.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{api.sockets[0].getsockname()[1]}"
    async with api, server:
        assert await asyncio.to_thread(start.announce, url, "secret", port) is told
    assert engine.asked == 2
    body = {"service": "wyoming", "config": {"uri": f"tcp://local-wyoming-flux:{port}"}}
    assert supervisor.heard == [("POST /discovery HTTP/1.1", "Bearer secret", body)]
    said = capsys.readouterr().err
    assert "secret" not in said
    assert ("is told of" in said) is told


async def test_a_server_that_never_answers_is_not_announced(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Home Assistant would offer what it cannot set up."""
    monkeypatch.setattr(start, "_PAUSE", 0)
    assert start.announce("http://127.0.0.1:9", "secret", 9, tries=3) is False
    assert "the server does not answer" in capsys.readouterr().err
