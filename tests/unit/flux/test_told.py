"""What is told with --debug, and that nothing of it is told without."""

import contextlib
import logging

import pytest

from wyoming_flux.errors import EndpointError
from wyoming_flux.flux import Connector, Endpoint, FluxConnection, check_flux
from wyoming_flux.flux.messages import CLOSE_STREAM
from wyoming_flux.settings import FluxSettings
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.faults import parse

pytestmark = pytest.mark.slow

TOKEN = "a-token-of-nobody"


def connector_to(url: str, *, tell_texts: bool = True) -> Connector:
    """Return the way to a stand-in for Workers AI."""
    endpoint = Endpoint.from_url(url, route="workers-ai", token=TOKEN)
    return Connector(endpoint, tell_texts=tell_texts)


async def sentence(url: str, *, tell_texts: bool = True) -> None:
    """Say the sentence of the check."""
    connector = connector_to(url, tell_texts=tell_texts)
    await check_flux(connector, FluxSettings(eot_timeout_ms=1000), speak=True)


async def test_each_message_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Kind, turn, window end, confidence and text of each, a control message, the close."""
    caplog.set_level(logging.DEBUG, "wyoming_flux.flux")
    async with Simulator(script=["close the door"], profile="workers-ai") as simulator:
        await sentence(simulator.url)
        connection: FluxConnection = await connector_to(simulator.url).connect(FluxSettings())
        await connection.send_control(CLOSE_STREAM)
        with contextlib.suppress(EndpointError):
            while True:
                await connection.receive()
        await connection.close()
    told = [r.message.partition(": ")[2] for r in caplog.records if "connection" in r.name]
    assert told[0].startswith("open after ")
    assert told[1] == "Connected"
    ends = [line for line in told if line.startswith("EndOfTurn")]
    assert len(ends) == 1
    assert ", turn 0, heard to " in ends[0]
    assert ends[0].endswith(" s, confidence 0.95, 'close the door'")
    assert told[-1] == "closed with 1005"
    assert f"we say {CLOSE_STREAM}" in told
    assert "we close" in told


async def test_a_refusal_is_told_with_its_body(caplog: pytest.LogCaptureFixture) -> None:
    """All of it, but for what of our secrets the other side repeats."""
    caplog.set_level(logging.DEBUG, "wyoming_flux.flux")
    body = '{"oops":"bad token ' + TOKEN + '"}'
    async with Simulator(faults=[parse(f"refuse:status=418,body={body}")]) as simulator:
        with pytest.raises(EndpointError) as caught:
            await connector_to(simulator.url).connect(FluxSettings())
    assert 'refused with 418: {"oops":"bad token ***"}' in caplog.text
    assert caught.value.body == '{"oops":"bad token ***"}'


async def test_nothing_of_it_is_told_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    """Without --debug no text gets into a log."""
    caplog.set_level(logging.INFO, "wyoming_flux")
    async with Simulator(script=["close the door"]) as simulator:
        await sentence(simulator.url)
    assert "close the door" not in caplog.text
    assert not [r for r in caplog.records if r.name.endswith("connection")]


async def test_texts_are_told_only_to_who_asked(caplog: pytest.LogCaptureFixture) -> None:
    """Home Assistant's debug log, which people post, has the messages and not what was said."""
    caplog.set_level(logging.DEBUG, "wyoming_flux")
    async with Simulator(script=["close the door"]) as simulator:
        await sentence(simulator.url, tell_texts=False)
    assert "EndOfTurn, turn 0, " in caplog.text
    assert "14 characters" in caplog.text
    assert "close the door" not in caplog.text
