"""A selection of the fault matrix over real sockets: server, simulator and the wyoming client."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from wyoming.client import AsyncClient
from wyoming.event import Event

from tests.support.coded import CodedRecognizer
from tests.unit.faults.matrix import Cell, selection
from tests.unit.faults.stage import FLUX_SETTINGS, Result, judge, play
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.server import Server
from wyoming_flux.settings import ServerSettings, UtteranceSettings
from wyoming_flux.simulator import LocalFlux, Simulator
from wyoming_flux.utterance import Report

Run = Callable[[Callable[[], Awaitable[Any]]], Any]
SLACK = 1.5
"""A quarter of a real second for a machine that does other things as well."""


class SocketClient:
    """A client of the wyoming library, and a task that reads its answers."""

    def __init__(self, client: AsyncClient) -> None:
        self.answers: asyncio.Queue[tuple[float, Event]] = asyncio.Queue()
        self.turns = 0
        """Turns that were begun."""
        self._client = client
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while (event := await self._client.read_event()) is not None:
                if event.type in ("transcript", "error"):
                    self.answers.put_nowait((asyncio.get_running_loop().time(), event))
        except ConnectionError:
            pass  # the server's socket was closed first

    async def say(self, *events: Event) -> None:
        for event in events:
            self.turns += event.type == "transcribe"
            await self._client.write_event(event)

    async def hang_up(self) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await self._client.disconnect()


class SocketStage:
    """A server and a simulator on loopback."""

    def __init__(self, simulator: Simulator, turn: UtteranceSettings) -> None:
        self.flux: LocalFlux = simulator
        self._news = asyncio.Event()
        self.clients: list[SocketClient] = []
        self._reports: list[Report] = []
        self.server = Server(
            Connector(Endpoint.from_url(simulator.url, route="workers-ai")),
            FLUX_SETTINGS,
            turn,
            ServerSettings(uri="tcp://127.0.0.1:0"),
            on_report=self._on_report,
        )

    def _on_report(self, report: Report) -> None:
        self._reports.append(report)
        self._news.set()

    async def connect(self) -> SocketClient:
        client = AsyncClient.from_uri(self.server.uri)
        await client.connect()
        self.clients.append(SocketClient(client))
        return self.clients[-1]

    async def quiet(self) -> None:
        # A turn is reported when its connection to Flux is closed.
        turns = sum(client.turns for client in self.clients)
        async with asyncio.timeout(30):
            while len(self._reports) < turns:
                self._news.clear()
                await self._news.wait()


@pytest.mark.parametrize("cell", selection(), ids=str)
def test_cell_over_sockets(run_fast: Run, caplog: pytest.LogCaptureFixture, cell: Cell) -> None:
    """The outcome over sockets is the one in memory, in time."""

    async def main() -> Result:
        async with Simulator(recognizer=CodedRecognizer) as simulator:
            stage = SocketStage(simulator, UtteranceSettings(max_turn=cell.max_turn))
            await stage.server.start()
            try:
                return await play(cell, stage, wait=3.0)
            finally:
                await stage.server.stop(grace=0)

    judge(cell, run_fast(main), slack=SLACK)
    assert not [record for record in caplog.records if record.exc_info], "a traceback was logged"
