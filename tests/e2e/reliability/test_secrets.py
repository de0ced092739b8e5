"""A token and a header travel to Flux and nowhere else, whatever goes wrong or is logged."""

import gc
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.coded import CodedRecognizer, speak
from tests.support.processes import WyomingClient
from tests.unit.faults.matrix import TROUBLES
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.server import Server
from wyoming_flux.settings import FluxSettings, ServerSettings, UtteranceSettings
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.faults import Dropped, ErrorMessage, Fault, Refuse

Run = Callable[[Callable[[], Awaitable[Any]]], Any]

TOKEN = "a-token-that-nobody-may-see"
HEADER = "a-header-that-nobody-may-see"

ECHOES: tuple[Fault, ...] = (
    Refuse(status=403, body=f"Authorization: Bearer {TOKEN} is not allowed"),
    Refuse(status=400, body=json.dumps({"code": "x", "message": f"{TOKEN} and {HEADER}"})),
    Refuse(status=302, location=f"http://127.0.0.1/?token={TOKEN}", body=""),
    Dropped(after=0.2, code=1011, reason=f"{HEADER}"),
    ErrorMessage(after=0.2, code="X", description=f"token {TOKEN}, header {HEADER}"),
)
QUOTED = ECHOES[1], ECHOES[3], ECHOES[4]
"""Those whose text reaches the client, with stars in the place of the secret."""
CASES = [*((one.name, one.faults) for one in TROUBLES), *((repr(e)[:12], (e,)) for e in ECHOES)]


def secrets_in(*texts: object) -> list[str]:
    """Return the texts that tell a secret."""
    return [str(text) for text in texts if TOKEN in str(text) or HEADER in str(text)]


def reprs() -> list[str]:
    """Return the repr of all that the library has made and not given up yet."""
    ours = [(one, str(type(one).__module__)) for one in gc.get_objects()]
    product = [
        one
        for one, module in ours
        if module.startswith("wyoming_flux.") and ".simulator" not in module
    ]
    assert product
    return [text for one in product for text in (repr(one), str(one))]


async def answers(uri: str) -> list[str]:
    """Take a turn; return all that the server says to it."""
    async with await WyomingClient.connect(uri) as client:
        await client.begin()
        await client.fast(bytes(16000) + speak("lock the door") + bytes(3200))
        await client.stop()
        await client.answer(60)
        return [json.dumps([one.kind, one.data]) for one in client.events]


@pytest.mark.parametrize(("name", "faults"), CASES, ids=[name for name, _ in CASES])
def test_nobody_sees_a_secret(
    run_fast: Run, caplog: pytest.LogCaptureFixture, name: str, faults: tuple[Fault, ...]
) -> None:
    """Not the client, not the log at its most talkative, not a repr; only the upgrade request."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "wyoming_flux.websocket")
    seen: list[str] = []

    async def main() -> bool:
        async with Simulator(recognizer=CodedRecognizer, faults=faults) as flux:
            endpoint = Endpoint.from_url(
                flux.url, route="workers-ai", token=TOKEN, headers={"X-Secret": HEADER}
            )
            server = Server(
                Connector(endpoint),
                FluxSettings(),
                UtteranceSettings(),
                ServerSettings(uri="tcp://127.0.0.1:0", debug=True),
            )
            await server.start()
            seen.extend(await answers(server.uri))
            seen.extend(reprs())
            await server.stop()
            headers = flux.connections[0].request.headers
            return headers["authorization"] == f"Bearer {TOKEN}" and headers["x-secret"] == HEADER

    assert run_fast(main), "the request must hold them"
    assert seen
    if faults[0] in QUOTED:
        assert any("***" in text for text in seen), seen
    ours = [one for one in caplog.records if ".simulator" not in one.name]
    assert ours
    formatted = [logging.Formatter().format(record) for record in ours]
    assert not secrets_in(*seen, *formatted, *(record.__dict__ for record in ours))
