"""Every step and every fault of set-up, reconfiguration and reauthentication, each then mended."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from unittest.mock import patch

import pytest
import trustme
from homeassistant.config_entries import SOURCE_USER, ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.support.said_aloud import said_aloud
from wyoming_flux.simulator import faults

DOMAIN = "wyoming_flux"
TOKEN = "door-opener"
FILLED = {"sample_rate": "16000", "home_names": True}
"""What the browser sends of the URL's form in any case."""

type Answer = Callable[[ServerConnection], Awaitable[None]]


async def choose(hass: HomeAssistant, way: str) -> dict[str, Any]:
    """Open the dialogue and choose a way in; return its form."""
    menu = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    assert menu["type"] is FlowResultType.MENU
    assert menu["menu_options"] == ["worker", "url", "deepgram"]
    form = await hass.config_entries.flow.async_configure(menu["flow_id"], {"next_step_id": way})
    assert form["type"] is FlowResultType.FORM
    assert form["step_id"] == way
    assert form["errors"] == {}
    return form


async def send(hass: HomeAssistant, form: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Send a form that is open."""
    result = await hass.config_entries.flow.async_configure(form["flow_id"], fields)
    await hass.async_block_till_done()
    return result


async def fill_in(hass: HomeAssistant, **fields: Any) -> dict[str, Any]:
    """Open the dialogue, choose the URL, and send its form."""
    return await send(hass, await choose(hass, "url"), **FILLED | fields)


async def succeeds(hass: HomeAssistant, form: dict[str, Any], worker) -> None:
    """Show that the same dialogue goes on to an entry once the fault is mended."""
    assert form["type"] is FlowResultType.FORM
    result = await send(hass, form, **FILLED, worker_url=worker.url, token=TOKEN)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert result["result"].state is ConfigEntryState.LOADED


async def test_entry_is_made_of_what_was_typed(hass: HomeAssistant, start_worker) -> None:
    """URL and token go to the data, normalised; the rest to the options, key terms clean."""
    worker = await start_worker()
    result = await fill_in(
        hass,
        worker_url=f" {worker.url.replace('ws:', 'http:')}",
        token=f" {TOKEN} ",
        sample_rate="24000",
        keyterms=["Ecobee, Hue", " Nabu  Casa ", "", "ecobee"],
        home_names=False,
    )
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert result["title"] == "Deepgram Flux"
    assert result["data"] == {"worker_url": f"{worker.url}/", "token": TOKEN}
    assert result["options"] == {
        "sample_rate": "24000",
        "keyterms": ["Ecobee", "Hue", "Nabu Casa"],
        "home_names": False,
    }
    # What was checked is what turns will ask for: the check was with half a second of silence.
    check = worker.connections[0]
    assert ("sample_rate", "24000") in check.query
    assert [term for name, term in check.query if name == "keyterm"] == [
        "Ecobee",
        "Hue",
        "Nabu Casa",
    ]
    assert 0 < len(check.audio) <= 24000
    assert not any(check.audio)
    assert check.mistakes == []


async def test_url_alone_is_enough(hass: HomeAssistant, start_worker) -> None:
    """Only the URL is required; a Worker without a token stores none."""
    worker = await start_worker(token=None)
    form = await choose(hass, "url")
    result = await send(hass, form, worker_url=worker.url)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert result["data"] == {"worker_url": f"{worker.url}/"}
    assert result["options"] == {"sample_rate": "16000", "keyterms": [], "home_names": True}


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"worker_url": "ftp://flux.example"}, {"worker_url": "invalid_url"}),
        ({"worker_url": "wss://user:pass@flux.example"}, {"worker_url": "invalid_url"}),
        ({"worker_url": "wss://flux.example/?key=1"}, {"worker_url": "invalid_url"}),
        ({"worker_url": "   "}, {"worker_url": "invalid_url"}),
        (
            {"worker_url": "ws://flux.example", "token": "secret"},
            {"worker_url": "insecure_token"},
        ),
        ({"worker_url": "wss://flux.example", "token": "two words"}, {"token": "invalid_token"}),
        (
            {"worker_url": "wss://flux.example", "keyterms": ["x" * 101]},
            {"keyterms": "keyterm_too_long"},
        ),
        (
            {"worker_url": "wss://flux.example", "keyterms": [f"term {n}" for n in range(101)]},
            {"keyterms": "too_many_keyterms"},
        ),
    ],
)
async def test_what_was_typed_is_wrong(
    hass: HomeAssistant, worker, fields: dict[str, Any], errors: dict[str, str]
) -> None:
    """What cannot work is said at its field, without a connection."""
    result = await fill_in(hass, **fields)
    assert result["errors"] == errors
    assert worker.connections == []
    await succeeds(hass, result, worker)


@pytest.mark.parametrize(
    ("flux", "fields", "errors"),
    [
        (
            faults.Refuse(
                status=302,
                location="https://team.cloudflareaccess.com/cdn-cgi/access/login/x",
                body="",
            ),
            {},
            {"worker_url": "login_page"},
        ),
        (faults.Refuse(status=429, code="3036"), {}, {"base": "quota"}),
        (faults.Refuse(status=402, body=""), {}, {"base": "payment"}),
        (
            faults.Refuse(status=404, body="error code: 1042"),
            {},
            {"worker_url": "endpoint_not_found"},
        ),
        (faults.Refuse(status=503), {}, {"worker_url": "unreachable"}),
        (faults.Refuse(status=451, body=""), {}, {"base": "refused"}),
        (faults.ConnectedLate(seconds=30), {}, {"worker_url": "no_answer"}),
        ({}, {"token": "guess"}, {"token": "invalid_auth"}),
        ({}, {"token": ""}, {"token": "missing_token"}),
        ({}, {"worker_url": "ws://127.0.0.1:9"}, {"worker_url": "unreachable"}),
        # The ten-line Worker is accepted with what it can do, and only with that.
        ({"plain": True}, {"sample_rate": "8000"}, {"sample_rate": "plain_sample_rate"}),
        ({"plain": True}, {"keyterms": ["Ecobee"]}, {"keyterms": "plain_keyterms"}),
        # Refused with all, and without thresholds: it is the key terms.
        (
            {"faults": [faults.Refuse(status=400, code="5004", connection=n) for n in (1, 2)]},
            {"keyterms": ["Ecobee"]},
            {"keyterms": "refused_keyterms"},
        ),
    ],
)
async def test_endpoint_is_at_fault(
    hass: HomeAssistant,
    worker,
    start_worker,
    caplog: pytest.LogCaptureFixture,
    flux: dict[str, Any] | faults.Fault,
    fields: dict[str, Any],
    errors: dict[str, str],
) -> None:
    """Each fault of the endpoint has its own message; nothing is saved, nothing logged aloud."""
    lasts = isinstance(flux, faults.Fault)
    broken = await start_worker(**{"faults": [flux]} if lasts else flux)
    with patch("wyoming_flux.flux.check.FIRST_MESSAGE_LIMIT", 0.3):
        result = await fill_in(hass, **{"worker_url": broken.url, "token": TOKEN, **fields})
    assert result["errors"] == errors
    # A plain Worker is worth a warning.
    said = said_aloud(caplog.records)
    assert all(broken.plain and "ignores parameters" in one for one in said), said
    await succeeds(hass, result, worker if lasts else broken)


async def test_certificate_cannot_be_trusted(hass: HomeAssistant, worker) -> None:
    """A certificate of an authority that nobody knows is named as the reason."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as server:
        # In a thread, so that its broken handshake is not taken for a fault of Home Assistant.
        shaking = asyncio.create_task(asyncio.to_thread(_shake_hands, server, context))
        port = server.getsockname()[1]
        result = await fill_in(hass, worker_url=f"wss://127.0.0.1:{port}", token=TOKEN)
        await shaking
    assert result["errors"] == {"worker_url": "tls"}
    assert result["description_placeholders"]["reason"]
    await succeeds(hass, result, worker)


def _shake_hands(server: socket.socket, context: ssl.SSLContext) -> None:
    client, _ = server.accept()
    with client, contextlib.suppress(OSError):
        context.wrap_socket(client, server_side=True).close()


async def _hang_up(connection: ServerConnection) -> None:
    await connection.close()


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def _complain(connection: ServerConnection) -> None:
    await connection.send('{"type":"Error","code":"NOPE","description":"Not today."}')
    await connection.wait_closed()


def _page(connection: ServerConnection, _request: Request) -> Response:
    return connection.respond(HTTPStatus.OK, "welcome")


@pytest.mark.parametrize(
    ("answer", "options", "errors"),
    [
        (_echo, {}, {"worker_url": "not_flux"}),
        (_complain, {}, {"base": "refused"}),
        (_hang_up, {}, {"worker_url": "no_answer"}),
        (_hang_up, {"process_request": _page}, {"worker_url": "not_flux"}),
    ],
)
async def test_something_else_answers(
    hass: HomeAssistant, worker, answer: Answer, options: dict[str, Any], errors: dict[str, str]
) -> None:
    """A WebSocket or a web page that is not Flux is not taken for it; Flux's own error is told."""
    async with serve(answer, "127.0.0.1", 0, **options) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        result = await fill_in(hass, worker_url=f"ws://127.0.0.1:{port}")
    assert result["errors"] == errors
    await succeeds(hass, result, worker)


async def test_unexpected_fault_is_logged(
    hass: HomeAssistant, worker, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of our own is said to be one, with its traceback in the log."""
    with patch("custom_components.wyoming_flux.flow.check_flux", side_effect=RuntimeError):
        result = await fill_in(hass, worker_url=worker.url, token=TOKEN)
    assert result["errors"] == {"base": "unknown"}
    assert "RuntimeError" in caplog.text
    await succeeds(hass, result, worker)


async def test_same_endpoint_twice(hass: HomeAssistant, worker, set_up) -> None:
    """The same endpoint is not set up twice, however it is written."""
    await set_up(worker)
    result = await fill_in(hass, worker_url=worker.url.replace("ws:", "http:"), token=TOKEN)
    assert result["type"] is FlowResultType.ABORT
    assert result["reason"] == "already_configured"


async def test_two_models_at_one_endpoint(
    hass: HomeAssistant, start_worker, set_up, deepgram
) -> None:
    """One key, two engines: English for one assistant, ten languages for another."""
    flux = await start_worker(profile="deepgram")
    with deepgram(), patch("custom_components.wyoming_flux.config_flow.DEEPGRAM_URL", flux.url):
        results = []
        for model in ("flux-general-en", "flux-general-multi", "flux-general-multi"):
            form = await choose(hass, "deepgram")
            results.append(await send(hass, form, token=TOKEN, model=model, home_names=False))
    assert [one["type"] for one in results[:2]] == [FlowResultType.CREATE_ENTRY] * 2
    assert results[1]["options"]["model"] == "flux-general-multi"
    assert results[2]["reason"] == "already_configured"
    models = {dict(one.query)["model"] for one in flux.connections}
    assert models == {"flux-general-en", "flux-general-multi"}


@pytest.mark.parametrize(
    ("language", "model"),
    [
        ("en", "flux-general-en"),
        ("en-GB", "flux-general-en"),
        ("de", "flux-general-multi"),
        ("pt-BR", "flux-general-multi"),
        ("pl", "flux-general-en"),
    ],
)
async def test_deepgram_proposes_the_model_for_the_home(
    hass: HomeAssistant, language: str, model: str
) -> None:
    """Where people speak another language that Flux knows, that is what is proposed."""
    hass.config.language = language
    form = await choose(hass, "deepgram")
    (suggested,) = [key.description for key in form["data_schema"].schema if key == "model"]
    assert suggested == {"suggested_value": model}


async def test_deepgram_key_is_wrong(hass: HomeAssistant, start_worker, deepgram) -> None:
    """A wrong key is said at its field, and mended there."""
    flux = await start_worker(profile="deepgram")
    with deepgram(), patch("custom_components.wyoming_flux.config_flow.DEEPGRAM_URL", flux.url):
        form = await choose(hass, "deepgram")
        fields = {"model": "flux-general-en", "home_names": False}
        form = await send(hass, form, token="guess", **fields)
        assert form["errors"] == {"token": "invalid_auth"}
        result = await send(hass, form, token=TOKEN, **fields)
    assert result["type"] is FlowResultType.CREATE_ENTRY


async def test_second_endpoint_has_its_own_name(
    hass: HomeAssistant, worker, start_worker, set_up
) -> None:
    """Two engines can be told apart by name."""
    await set_up(worker)
    other = await start_worker()
    result = await fill_in(hass, worker_url=other.url, token=TOKEN)
    assert result["title"] == f"Deepgram Flux ({other.url.removeprefix('ws://')})"


async def test_reconfigure_to_another_endpoint(
    hass: HomeAssistant, worker, start_worker, set_up
) -> None:
    """A new URL is checked before it is saved; another host never sees the present token."""
    entry = await set_up(worker, {"sample_rate": "24000"})
    other = await start_worker()
    form = await entry.start_reconfigure_flow(hass)
    assert form["step_id"] == "reconfigure_url"
    shown = {str(key): key.description for key in form["data_schema"].schema}
    assert shown["worker_url"] == {"suggested_value": f"{worker.url}/"}
    assert shown["token"] is None

    form = await send(hass, form, worker_url="ws://127.0.0.1:9")
    assert form["errors"] == {"worker_url": "unreachable"}
    form = await send(hass, form, worker_url=other.url)
    assert form["errors"] == {"token": "missing_token"}
    result = await send(hass, form, worker_url=other.url, token=TOKEN)
    assert result["type"] is FlowResultType.ABORT
    assert result["reason"] == "reconfigure_successful"
    await hass.async_block_till_done()
    assert entry.data == {"worker_url": f"{other.url}/", "token": TOKEN}
    assert entry.options["sample_rate"] == "24000"
    assert entry.state is ConfigEntryState.LOADED


async def test_reconfigure_to_a_worker_that_cannot_do_the_options(
    hass: HomeAssistant, worker, start_worker, set_up
) -> None:
    """What the form does not ask for is said above it."""
    entry = await set_up(worker, {"sample_rate": "24000"})
    plain = await start_worker(plain=True)
    form = await entry.start_reconfigure_flow(hass)
    form = await send(hass, form, worker_url=plain.url, token=TOKEN)
    assert form["errors"] == {"base": "plain_sample_rate"}
    result = await send(hass, form, worker_url=worker.url, token=TOKEN)
    assert result["reason"] == "reconfigure_successful"
    await hass.async_block_till_done()


async def test_reconfigure_to_a_worker_without_the_model(
    hass: HomeAssistant, worker, start_worker, set_up, deepgram
) -> None:
    """An entry in ten languages cannot be moved to Cloudflare, which has one."""
    with deepgram():
        entry = await set_up(
            await start_worker(profile="deepgram"), {"model": "flux-general-multi"}
        )
    form = await entry.start_reconfigure_flow(hass)
    form = await send(hass, form, worker_url=worker.url)
    assert form["errors"] == {"base": "invalid_value"}
    assert "flux-general-multi" in form["description_placeholders"]["reason"]
    assert worker.connections == []


async def test_reconfigure_to_an_endpoint_in_use(
    hass: HomeAssistant, worker, start_worker, set_up
) -> None:
    """Two entries never lead to the same endpoint."""
    entry = await set_up(worker)
    other = await start_worker()
    await set_up(other, entry_id="01JTEST00000000000000000FY")
    form = await entry.start_reconfigure_flow(hass)
    result = await send(hass, form, worker_url=other.url)
    assert result["reason"] == "already_configured"


async def test_reauth(hass: HomeAssistant, worker, set_up) -> None:
    """A token that is wrong at set-up asks for a new one, which is tried before it is saved."""
    entry = await set_up(worker, token="expired")
    assert entry.state is ConfigEntryState.SETUP_ERROR
    (flow,) = hass.config_entries.flow.async_progress()
    assert flow["step_id"] == "reauth_confirm"
    form = await send(hass, flow, token="guess")
    assert form["errors"] == {"token": "invalid_auth"}
    result = await send(hass, flow, token=TOKEN)
    assert result["type"] is FlowResultType.ABORT
    assert result["reason"] == "reauth_successful"
    await hass.async_block_till_done()
    assert entry.data["token"] == TOKEN
    assert entry.state is ConfigEntryState.LOADED
