"""A real, headless Home Assistant: started as a process, driven through its own interfaces.

For the end-to-end tests and for ``script/hass``. Runs in the environment that has Home Assistant.
"""

import asyncio
import contextlib
import functools
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from tests.e2e.hass import home_folder
from tests.e2e.hass.websocket_api import DriverError, Socket

ROOT: Final = Path(__file__).parents[3]
INTEGRATION: Final = ROOT / "custom_components" / "wyoming_flux"
PYTHON: Final = Path(os.environ.get("HOME_ASSISTANT_PYTHON", sys.executable))
"""The environment that has Home Assistant; another one for another version."""

OWNER: Final = {"name": "Person", "username": "person", "password": "person"}
CLIENT_ID: Final = "http://127.0.0.1/"
START_TIMEOUT: Final = 120.0
STOP_TIMEOUT: Final = 30.0

# What a machine without ffmpeg and libturbojpeg says, what Home Assistant says of every custom
# integration, and of audio that was on its way when the pipeline ended (browsers do it, too).
BENIGN: Final = (
    "FFmpeg fails",
    "Error starting FFmpeg",
    "Error loading libturbojpeg",
    "We found a custom integration",
    "binary message for non-existing handler",
)


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
        write = functools.partial(
            home_folder.write,
            self.folder,
            port=self.port,
            custom=self._custom,
            yaml=self._yaml,
            debug=self._debug,
            python=self._python,
        )
        self.version = await asyncio.to_thread(write)
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

    @property
    def _http(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session

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
