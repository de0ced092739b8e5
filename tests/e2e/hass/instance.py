"""A real, headless Home Assistant: started as a process, driven through its own interfaces.

For the end-to-end tests and for ``script/hass``. Runs in the environment that has Home Assistant.
"""

import asyncio
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

ROOT: Final = Path(__file__).parents[3]
INTEGRATION: Final = ROOT / "custom_components" / "wyoming_flux"
PYTHON: Final = Path(os.environ.get("HOME_ASSISTANT_PYTHON", sys.executable))
"""The environment that has Home Assistant; another one for another version."""

OWNER: Final = {"name": "Person", "username": "person", "password": "person"}
CLIENT_ID: Final = "http://127.0.0.1/"
START_TIMEOUT: Final = 120.0
STOP_TIMEOUT: Final = 30.0

CONFIGURATION: Final = """\
homeassistant:
  name: Home
  latitude: 52.37
  longitude: 4.89
  elevation: 0
  unit_system: metric
  time_zone: UTC
  country: NL
  language: en

# No default_config: only what an Assist pipeline needs, and what shows the integration.
api:
config:
conversation:
assist_pipeline:
diagnostics:
repairs:
system_health:

input_boolean:
  living_room:
  garage:

template:
  - light:
      - name: Living room light
        unique_id: living_room_light
        state: "{{ is_state('input_boolean.living_room', 'on') }}"
        turn_on:
          - action: input_boolean.turn_on
            target:
              entity_id: input_boolean.living_room
        turn_off:
          - action: input_boolean.turn_off
            target:
              entity_id: input_boolean.living_room
  - cover:
      - name: Garage door
        unique_id: garage_door
        device_class: garage
        state: "{{ is_state('input_boolean.garage', 'on') }}"
        open_cover:
          - action: input_boolean.turn_on
            target:
              entity_id: input_boolean.garage
        close_cover:
          - action: input_boolean.turn_off
            target:
              entity_id: input_boolean.garage

logger:
  default: warning
  logs:
"""

# What a machine without ffmpeg and libturbojpeg says, what Home Assistant says of every custom
# integration, and of audio that was on its way when the pipeline ended (browsers do it, too).
BENIGN: Final = (
    "FFmpeg fails",
    "Error starting FFmpeg",
    "Error loading libturbojpeg",
    "We found a custom integration",
    "binary message for non-existing handler",
)


_FACTS: Final = """\
import json
from homeassistant.components.http import config as http
from homeassistant.const import __version__
found = [__version__, http.STORAGE_VERSION, http.STORAGE_MINOR_VERSION, http._DEFAULT_CONFIG]
print(json.dumps(found, default=str))
"""


class DriverError(Exception):
    """Home Assistant did not do what was asked of it."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 30.0) -> None:
    """Wait, within bounds, for what another process does."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - another process sets no event of ours
            await asyncio.sleep(0.1)


class Instance:
    """One Home Assistant in a folder; ``async with`` starts it, onboards, and stops it."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        custom: Sequence[Path] = (INTEGRATION,),
        yaml: str = "",
        debug: Sequence[str] = (),
        python: Path = PYTHON,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Take a folder for its configuration.

        ``custom`` are integrations, folders or single modules; ``yaml`` is more configuration;
        ``debug`` names loggers that may say everything; ``python`` is the environment that has it;
        ``variables`` are more of the process's environment.
        """
        self.folder = folder
        self.port = port or free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.output = folder / "output.log"
        self.version = ""
        """Of Home Assistant, such as 2026.11.0; known once it runs."""
        self._custom = custom
        self._yaml = yaml
        self._debug = debug
        self._python = python
        self._variables = variables or {}
        self._headers: dict[str, str] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Start, make the first user, and wait until everything runs."""
        await asyncio.to_thread(self._write_configuration)
        self._session = aiohttp.ClientSession()
        try:
            await self.start()
            await self._onboard()
            await self.wait_running()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()
        if self._session is not None:
            await self._session.close()

    # --- the process -----------------------------------------------------------------------

    async def start(self) -> None:
        """Start the process, and wait until it answers."""
        # The machine's proxy must not see loopback traffic.
        environment = {**os.environ, "NO_PROXY": "127.0.0.1,localhost", "TZ": "UTC"}
        environment["PATH"] = f"{self._python.parent}:{environment.get('PATH', '')}"
        environment |= self._variables
        with self.output.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(str(self._python), "-m", "homeassistant", "-c", str(self.folder)),
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env=environment,
                # Not from the repository, where it would find custom_components itself.
                cwd=self.folder,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            if self._process.returncode is not None:
                raise DriverError(f"Home Assistant ended: {self.log()[-2000:]}")
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with self._http.get(f"{self.base}/manifest.json") as response:
                    if response.status == 200:
                        return
            if time.monotonic() > deadline:
                raise DriverError(f"Home Assistant did not start: {self.log()[-2000:]}")
            await asyncio.sleep(0.2)

    async def stop(self) -> None:
        """Stop the process that was started, as Ctrl-C would."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def log(self) -> str:
        """Return all that the process has said."""
        return self.output.read_text(errors="replace")

    def loud(self) -> list[str]:
        """Return the lines of the log at WARNING and above that are worth a look."""
        return [
            line
            for line in self.log().splitlines()
            if any(f" {level} " in line for level in ("WARNING", "ERROR", "CRITICAL"))
            and not any(benign in line for benign in BENIGN)
        ]

    # --- its interfaces --------------------------------------------------------------------

    async def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Make a call of the REST API; returns what came as JSON."""
        headers = {**self._headers, **arguments.pop("headers", {})}
        async with self._http.request(
            method, self.base + path, headers=headers, **arguments
        ) as response:
            text = await response.text()
            if response.status >= 400:
                raise DriverError(f"{method} {path}: {response.status} {text[:500]}")
            return json.loads(text) if text else None

    async def state(self, entity_id: str) -> str:
        """Return the state of an entity."""
        return str((await self.call("GET", f"/api/states/{entity_id}"))["state"])

    async def add_entry(self, domain: str, *steps: Mapping[str, Any]) -> str:
        """Walk through a configuration dialogue; returns the id of the entry that it made."""
        flow = await self._walk("flow", domain, steps)
        return await self.wait_loaded(flow["result"]["entry_id"])

    async def add_flux(self, step: Mapping[str, Any]) -> str:
        """Add our integration by its URL, for no assistant; returns the id of the entry."""
        steps = ({"next_step_id": "url"}, step, {"use_in_assistant": False})
        return await self.add_entry("wyoming_flux", *steps)

    async def set_options(self, entry_id: str, *steps: Mapping[str, Any]) -> None:
        """Walk through an entry's options, and wait until it is loaded again."""
        await self._walk("options/flow", entry_id, steps)
        await self.wait_loaded(entry_id)

    async def wait_loaded(self, entry_id: str) -> str:
        """Wait until an entry is loaded."""
        async with asyncio.timeout(30):
            while True:
                entries = await self.call("GET", "/api/config/config_entries/entry")
                (state,) = [one["state"] for one in entries if one["entry_id"] == entry_id]
                if state == "loaded":
                    return entry_id
                if state not in ("setup_in_progress", "not_loaded", "unload_in_progress"):
                    raise DriverError(f"the entry is in the state {state}")
                await asyncio.sleep(0.1)

    @contextlib.asynccontextmanager
    async def websocket(self) -> AsyncGenerator[Socket]:
        """Open the websocket API."""
        async with self._http.ws_connect(f"{self.base}/api/websocket", max_msg_size=0) as plain:
            await plain.receive_json()
            token = self._headers["Authorization"].removeprefix("Bearer ")
            await plain.send_json({"type": "auth", "access_token": token})
            if (answer := await plain.receive_json())["type"] != "auth_ok":
                raise DriverError(f"websocket: {answer}")
            opened = Socket(plain)
            try:
                yield opened
            finally:
                await opened.close()

    async def _walk(
        self, kind: str, handler: str, steps: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        path = f"/api/config/config_entries/{kind}"
        flow: dict[str, Any] = await self.call("POST", path, json={"handler": handler})
        for step in steps:
            flow = await self._progress(
                await self.call("POST", f"{path}/{flow['flow_id']}", json=dict(step)), path
            )
        if flow["type"] != "create_entry":
            raise DriverError(f"{handler}: {flow['type']}, errors {flow.get('errors')}")
        return flow

    async def _progress(self, flow: dict[str, Any], path: str) -> dict[str, Any]:
        """Wait, as the frontend does, while a step shows its progress."""
        async with asyncio.timeout(30):
            while flow["type"] == "progress":
                await asyncio.sleep(0.1)
                flow = await self.call("GET", f"{path}/{flow['flow_id']}")
        return flow

    async def _onboard(self) -> None:
        user = {**OWNER, "client_id": CLIENT_ID, "language": "en"}
        result = await self.call("POST", "/api/onboarding/users", json=user)
        data = {
            "client_id": CLIENT_ID,
            "grant_type": "authorization_code",
            "code": result["auth_code"],
        }
        token = await self.call("POST", "/auth/token", data=data)
        self._headers = {"Authorization": f"Bearer {token['access_token']}"}

    async def wait_running(self) -> None:
        """Wait until everything is started."""

        async def running() -> bool:
            return (await self.call("GET", "/api/config"))["state"] == "RUNNING"

        await until(running, START_TIMEOUT)

    async def wait_state(self, entity_id: str, *states: str) -> str:
        """Wait until an entity has one of these states; returns it."""

        async def there() -> bool:
            return await self.state(entity_id) in states

        await until(there)
        return await self.state(entity_id)

    # --- its configuration -----------------------------------------------------------------

    @property
    def _http(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session

    def _write_configuration(self) -> None:
        storage = self.folder / ".storage"
        storage.mkdir(parents=True, exist_ok=True)
        loggers = {"homeassistant.components.assist_pipeline": "warning"}
        loggers |= dict.fromkeys(self._debug, "debug")
        lines = "".join(f"    {name}: {level}\n" for name, level in loggers.items())
        (self.folder / "configuration.yaml").write_text(CONFIGURATION + lines + self._yaml)
        # In YAML the address would be a trial, which Home Assistant takes back by a restart.
        self.version, version, minor, http = _facts(self._python)
        http |= {"server_host": ["127.0.0.1"], "server_port": self.port}
        data = {"stable": http, "pending": None, "yaml_migration_done": True}
        _store(storage, "http", version, minor, data)
        # These steps would start integrations that talk to the internet.
        done = ["core_config", "analytics", "integration"]
        _store(storage, "onboarding", 4, 1, {"done": done})
        for source in self._custom:
            target = self.folder / "custom_components" / source.stem
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
            else:
                target.mkdir(parents=True)
                shutil.copy(source, target / "__init__.py")
                # Made here: hassfest would check any that it finds in a checkout.
                manifest = {"domain": source.stem, "name": source.stem, "version": "1.0.0"}
                (target / "manifest.json").write_text(json.dumps(manifest))


@functools.cache
def _asked(python: Path) -> str:
    return subprocess.run(
        [str(python), "-c", _FACTS], cwd="/", check=True, capture_output=True, text=True
    ).stdout


def _facts(python: Path) -> tuple[str, int, int, dict[str, Any]]:
    """Return Home Assistant's version, and version and defaults of what it stores for http."""
    version, major, minor, defaults = json.loads(_asked(python))
    return version, major, minor, defaults


def _store(folder: Path, key: str, version: int, minor: int, data: Any) -> None:
    content = {"version": version, "minor_version": minor, "key": key, "data": data}
    (folder / key).write_text(json.dumps(content, default=str))


class Socket:
    """The websocket API of a running Home Assistant."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Take an authenticated connection."""
        self._socket = socket
        self._number = 0
        self._results: dict[int, asyncio.Future[Any]] = {}
        self._events: dict[int, asyncio.Queue[tuple[float, dict[str, Any]]]] = {}
        self._reader = asyncio.create_task(self._read(), name="websocket API")

    async def close(self) -> None:
        """Disconnect."""
        await self._socket.close()
        await self._reader

    async def command(self, kind: str, **fields: Any) -> Any:
        """Send a command; returns its result."""
        self._number += 1
        number = self._number
        self._events[number] = asyncio.Queue()
        self._results[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "type": kind, **fields})
        async with asyncio.timeout(30):
            return await self._results[number]

    async def subscribe(
        self, kind: str, **fields: Any
    ) -> asyncio.Queue[tuple[float, dict[str, Any]]]:
        """Send a command that reports events; returns where they come, with their times."""
        await self.command(kind, **fields)
        return self._events[self._number]

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message: audio."""
        await self._socket.send_bytes(data)

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            now = time.monotonic()
            payload = json.loads(message.data)
            for item in payload if isinstance(payload, list) else [payload]:
                if item["type"] == "event":
                    self._events[item["id"]].put_nowait((now, item["event"]))
                elif (result := self._results.pop(item["id"], None)) is not None:
                    if item.get("success", True):
                        result.set_result(item.get("result"))
                    else:
                        result.set_exception(DriverError(str(item["error"])))
