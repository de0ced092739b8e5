"""The Worker in Cloudflare's own runtime, and what stands behind it: parts for the tests here."""

import asyncio
import contextlib
import http.client
import json
import os
import platform
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.e2e.worker.account import Account
from tests.support.parts import provide

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
API_TOKEN = "api-token-0123456789"
TOKEN = "correct horse battery staple".replace(" ", "-")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install workerd and wrangler if a test of this folder was selected."""
    provide("worker", session, where="/e2e/worker/")


def _workerd() -> Path:
    system = {"win32": "windows", "darwin": "darwin"}.get(sys.platform, "linux")
    machine = "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "64"
    package = HERE / f"runtime/node_modules/@cloudflare/workerd-{system}-{machine}"
    return package / "bin" / ("workerd.exe" if system == "windows" else "workerd")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: what a client sees that asked for no WebSocket, or got none."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def error(self) -> dict[str, Any]:
        """The error that each refusal of the Worker holds."""
        error: dict[str, Any] = self.body["error"]
        return error


@dataclass
class FarEnd:
    """Stands in for Workers AI behind the binding: keeps what arrives, does what it is told."""

    refusal: tuple[int, str, Mapping[str, str]] | None = None
    """Status, body and headers to answer with, instead of a WebSocket."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers of the 101 response."""
    requests: list[Request] = field(default_factory=list)
    """Every upgrade request, in order."""
    handler: Callable[[ServerConnection], Awaitable[None]] | None = None
    """What happens on a connection; by default each message comes back as it is."""
    closed: "asyncio.Queue[tuple[int, str]]" = field(default_factory=asyncio.Queue)
    """Code and reason with which connections ended, as seen from here."""
    port: int = 0

    def body(self, index: int = -1) -> dict[str, Any]:
        """Return what one request asked Workers AI for: its inputs and options."""
        query = parse_qs(urlsplit(self.requests[index].path).query, strict_parsing=True)
        body: dict[str, Any] = json.loads(query["body"][0])
        return body

    def inputs(self, index: int = -1) -> dict[str, Any]:
        """Return the parameters of Flux in one request."""
        inputs: dict[str, Any] = self.body(index)["inputs"]
        return inputs

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listen on a loopback port for as long as the context lasts."""
        async with serve(
            self._serve,
            "127.0.0.1",
            0,
            process_request=self._answer,
            process_response=self._add_headers,
            max_size=None,
            ping_interval=None,
            close_timeout=1,
        ) as server:
            self.port = _port(server)
            yield self

    def _answer(self, _connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if self.refusal is None:
            return None
        status, body, headers = self.refusal
        data = body.encode()
        return Response(
            status,
            HTTPStatus(status).phrase,
            Headers({**headers, "Content-Length": str(len(data)), "Connection": "close"}),
            data,
        )

    def _add_headers(
        self, _connection: ServerConnection, _request: Request, response: Response
    ) -> None:
        response.headers.update(self.headers)

    async def _serve(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            if self.handler is not None:
                await self.handler(connection)
            else:
                async for message in connection:
                    await connection.send(message)
        await connection.wait_closed()
        self.closed.put_nowait((connection.close_code or 0, connection.close_reason or ""))


def _port(server: Server) -> int:
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port


class Workerd:
    """A Worker in a process of the real runtime, on a loopback port."""

    def __init__(
        self,
        config: str,
        upstream: int,
        env: Mapping[str, str],
        log: Path,
        capnp: Path = HERE / "worker.capnp",
    ) -> None:
        """Take a configuration of the file ``capnp``, the port behind it, its variables."""
        self._config = config
        self._capnp = capnp
        self._upstream = upstream
        self._env = dict(env)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The address for a WebSocket."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that the Worker and the runtime have printed."""
        return self._log.read_text(errors="replace")

    @property
    def cpu_seconds(self) -> float:
        """Processor time that the running process has used (Linux)."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def start(self) -> None:
        """Start; a second start listens on the same port as the first."""
        control, control_end = os.pipe()
        try:
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *(_workerd(), "serve", "--experimental", "--verbose"),
                    *(self._capnp, self._config),
                    f"--socket-addr=http=127.0.0.1:{self.port}",
                    f"--external-addr=workers-ai=127.0.0.1:{self._upstream}",
                    f"--control-fd={control_end}",
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(control_end,),
                    env=self._env,
                )
        finally:
            os.close(control_end)
        # The pipe ends with the process, so this ends as well when it dies.
        with os.fdopen(control, "rb") as told:
            async with asyncio.timeout(20):
                line = await asyncio.to_thread(told.readline)
        if not line:
            pytest.fail(f"workerd did not start: {self.log}")
        self.port = json.loads(line)["port"]

    async def stop(self) -> None:
        """Kill the process, as a deployment or a crash would, and wait for its end."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if process.returncode is None:
            process.kill()
        async with asyncio.timeout(10):
            await process.wait()

    async def get(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Answer:
        """Send an HTTP request and return the answer; 101 counts as one."""
        return await asyncio.to_thread(self._get, path, headers or {}, method)

    async def upgrade(self, path: str = "/", token: str | None = TOKEN) -> Answer:
        """Ask for a WebSocket and return the answer, whatever it is, with the text in it."""
        return await self.get(path, upgrade_headers(token))

    def connect(self, query: str = "", headers: Mapping[str, str] | None = None) -> connect:
        """Open a WebSocket; the right token is sent unless ``headers`` are given."""
        if headers is None:
            headers = {"Authorization": f"Bearer {TOKEN}"}
        return connect(
            f"{self.url}/{query}",
            additional_headers=headers,
            compression=None,
            proxy=None,
            max_size=None,
        )

    def _get(self, path: str, headers: Mapping[str, str], method: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, headers=dict(headers))
            response = connection.getresponse()
            text = b"" if response.status == HTTPStatus.SWITCHING_PROTOCOLS else response.read()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, json.loads(text) if text else None)
        finally:
            connection.close()


def upgrade_headers(token: str | None) -> dict[str, str]:
    """Return the headers that ask for a WebSocket."""
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    return headers if token is None else {**headers, "Authorization": f"Bearer {token}"}


@pytest.fixture
async def far_end() -> AsyncIterator[FarEnd]:
    """Stand in for Workers AI, on a loopback port."""
    async with FarEnd().running() as running:
        yield running


StartWorker = Callable[..., Awaitable[Workerd]]


@pytest.fixture
async def start_worker(tmp_path: Path) -> AsyncIterator[StartWorker]:
    """Start Workers: each call takes the port behind it, ``config``, and its variables by name.

    With ``source`` that code runs instead of what is in the checkout.
    """
    if not _workerd().exists():
        if os.environ.get("CI"):
            pytest.fail("workerd is missing: run script/setup-worker")
        pytest.skip("workerd is missing: run script/setup-worker")
    workers: list[Workerd] = []

    async def start(
        upstream: int, *, config: str = "worker", source: bytes | None = None, **env: str
    ) -> Workerd:
        capnp = HERE / "worker.capnp"
        if source is not None:
            folder = tmp_path / f"worker-{len(workers)}"
            shutil.copytree(HERE, folder / "a/b/c", ignore=shutil.ignore_patterns("runtime", "__*"))
            (folder / "worker/src").mkdir(parents=True)
            (folder / "worker/src/index.js").write_bytes(source)
            capnp = folder / "a/b/c/worker.capnp"
        worker = Workerd(config, upstream, env, tmp_path / f"workerd-{len(workers)}.log", capnp)
        workers.append(worker)
        await worker.start()
        return worker

    yield start
    for worker in workers:
        await worker.stop()


@pytest.fixture
async def worker(start_worker: StartWorker, far_end: FarEnd) -> Workerd:
    """Start the shipped Worker with its token set, in front of ``far_end``."""
    return await start_worker(far_end.port, FLUX_TOKEN=TOKEN)


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    """Start an account that has a name at workers.dev and no Worker."""
    with Account().running(tmp_path) as running:
        yield running


@pytest.fixture
async def ours(account: Account, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Run `wyoming-flux deploy` as a process against the account, with its API token in a file.

    With variables or a terminal it has no such file.
    """
    key = tmp_path / "api-token"
    key.write_text(API_TOKEN + "\n")
    running: list[asyncio.subprocess.Process] = []

    async def run(
        *options: str,
        stdin: int = asyncio.subprocess.DEVNULL,
        called: Sequence[str] = (sys.executable, "-m", "wyoming_flux"),
        **env: str,
    ) -> asyncio.subprocess.Process:
        given = () if stdin >= 0 or env else ("--api-token-file", str(key))
        process = await asyncio.create_subprocess_exec(
            *(*called, "deploy", *given, *options),
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "https_proxy": f"http://127.0.0.1:{account.port}",
                "SSL_CERT_FILE": str(account.ca),
                **env,
            },
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Without a terminal of its own it reads what is given to it.
            start_new_session=True,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        if process.returncode is None:
            process.kill()
            await process.wait()
