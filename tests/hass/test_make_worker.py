"""*Make a Worker for me*, against an account on this machine that is asked over real TLS."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from homeassistant.config_entries import SOURCE_RECONFIGURE, SOURCE_USER
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import issue_registry as ir

from tests.e2e.hass.workers_dev import URL, dial_to, session
from tests.e2e.worker.account import ID, Account
from tests.support.workers_dev import Uploaded, account_with_worker, uploaded_token
from wyoming_flux.simulator import faults

API_TOKEN = "cloudflare-api-token"
DOMAIN = "wyoming_flux"
KEPT = "wyoming_flux.new_workers"


@pytest.fixture
async def made(tmp_path: Path) -> AsyncGenerator[tuple[Account, Uploaded]]:
    """An account in which nothing has been made, and what will be its Worker."""
    async with account_with_worker(tmp_path) as both:
        yield both


@pytest.fixture
def account(made: tuple[Account, Uploaded]) -> Account:
    """The account."""
    return made[0]


@pytest.fixture
async def flux(hass: HomeAssistant, made: tuple[Account, Uploaded]) -> AsyncGenerator[Uploaded]:
    """The Worker behind the address that the account gives; its token is what was uploaded."""
    account, worker = made
    shared = await session(hass, f"http://127.0.0.1:{account.port}", str(account.ca))
    with (
        patch("custom_components.wyoming_flux.deploy.async_get_clientsession", lambda _: shared),
        patch("custom_components.wyoming_flux.worker_flow._SHOWN", 0),
        patch("wyoming_flux.cloudflare.script._TRIES", 2),
        patch("wyoming_flux.cloudflare.script._TRIES_NEW_NAME", 2),
        patch("wyoming_flux.flux.connector.open_connection", dial_to({URL: worker.url})),
    ):
        yield worker
    await shared.close()


async def begin(hass: HomeAssistant, **fields: Any) -> dict[str, Any]:
    """Choose the way and send its form; return what comes after the progress."""
    menu = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    form = await hass.config_entries.flow.async_configure(
        menu["flow_id"], {"next_step_id": "worker"}
    )
    assert form["description_placeholders"]["token_page"].startswith("https://dash.cloudflare.com")
    return await send(hass, form, api_token=API_TOKEN, name="flux", home_names=False, **fields)


async def send(hass: HomeAssistant, form: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Send a form, and wait for the end of a progress."""
    result = await hass.config_entries.flow.async_configure(form["flow_id"], fields)
    while result["type"] is FlowResultType.SHOW_PROGRESS:
        assert result["progress_action"] == "deploy"
        await hass.async_block_till_done()
        result = await hass.config_entries.flow.async_configure(form["flow_id"])
    await hass.async_block_till_done()
    return result


async def test_new_account(
    hass: HomeAssistant, account: Account, flux: Any, hass_storage: dict[str, Any]
) -> None:
    """A name at workers.dev is asked for; then there is a Worker, an entry, and no API token."""
    account.subdomain = None
    form = await begin(hass)
    assert form["step_id"] == "worker_subdomain"
    assert form["errors"] == {}
    assert account.changes == []
    form = await send(hass, form, subdomain="not a name")
    assert form["errors"] == {"subdomain": "cloudflare"}
    result = await send(hass, form, subdomain="Someone")
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert account.subdomain == "someone"
    token = uploaded_token(account.asked)
    assert result["data"] == {"worker_url": URL, "token": token}
    assert result["options"] == {"home_names": False}
    assert {one.headers["authorization"] for one in account.asked} == {f"Bearer {API_TOKEN}"}
    assert hass.states.get("stt.deepgram_flux").state != "unavailable"
    assert API_TOKEN not in json.dumps(hass_storage, default=str)
    assert KEPT not in hass_storage


async def test_account_has_to_be_told(hass: HomeAssistant, account: Account, flux: Any) -> None:
    """An API token of an account is not told which one; its id is typed, in whatever case."""
    listed = account._answer

    def answer(asked: Any) -> tuple[int, Any]:
        return (200, []) if asked.path.startswith("/client/v4/accounts?") else listed(asked)

    with patch.object(account, "_answer", answer):
        form = await begin(hass)
        assert form["step_id"] == "worker_account"
        form = await send(hass, form, account="mine")
        assert form["errors"] == {"account": "cloudflare"}
        result = await send(hass, form, account=f" {ID.upper()} ")
    assert result["type"] is FlowResultType.CREATE_ENTRY


async def test_worker_is_there_already(hass: HomeAssistant, account: Account, flux: Any) -> None:
    """It is brought up to date with its secret; a new token is made only when that is wanted."""
    account.scripts["flux"] = {
        "bindings": [{"name": "FLUX_TOKEN", "type": "secret_text"}],
        "code": b"x-wyoming-flux-worker",
        "subdomain": {"enabled": True},
    }
    flux.token = "as-before"
    form = await begin(hass)
    assert form["step_id"] == "worker_token"
    assert form["errors"] == {}
    assert uploaded_token(account.asked) is None
    form = await send(hass, form, token="guess", new_token=False)
    assert form["errors"] == {"token": "invalid_auth"}
    result = await send(hass, form, token="as-before", new_token=False)
    assert result["data"]["token"] == "as-before"


async def test_new_token_on_request(hass: HomeAssistant, account: Account, flux: Any) -> None:
    """Who does not know the token any more has another one made, knowing what that ends."""
    account.scripts["flux"] = {
        "bindings": [{"name": "FLUX_TOKEN", "type": "secret_text"}],
        "code": b"x-wyoming-flux-worker",
        "subdomain": {"enabled": True},
    }
    form = await begin(hass)
    result = await send(hass, form, new_token=True)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert result["data"]["token"] == uploaded_token(account.asked)


async def test_foreign_worker_is_left_alone(
    hass: HomeAssistant, account: Account, flux: Any
) -> None:
    """A Worker of that name that is not ours is not touched; another name does."""
    account.scripts["flux"] = {"bindings": [], "code": b"theirs", "subdomain": {"enabled": True}}
    form = await begin(hass)
    assert form["step_id"] == "worker"
    assert form["errors"] == {"name": "cloudflare"}
    assert "not ours" in form["description_placeholders"]["reason"]
    assert account.changes == []
    assert account.scripts["flux"]["code"] == b"theirs"


@pytest.mark.parametrize(
    ("status", "code", "field"), [(403, 10000, "api_token"), (403, 10037, "base")]
)
async def test_cloudflare_refuses(
    hass: HomeAssistant,
    account: Account,
    flux: Any,
    status: int,
    code: int,
    field: str,
    hass_storage: dict[str, Any],
) -> None:
    """Each refusal is said where it can be mended, and the same dialogue goes on."""
    account.refuse["PUT"] = (status, code)
    form = await begin(hass)
    assert form["step_id"] == "worker"
    assert form["errors"] == {field: "cloudflare"}
    reason = form["description_placeholders"]["reason"]
    assert str(code) in reason
    assert reason[0].isupper()
    # Nobody types twice what was right; names that are not to be sent stay at home.
    shown = {str(key): key.description for key in form["data_schema"].schema}
    kept = {"suggested_value": API_TOKEN} if field != "api_token" else None
    assert shown["api_token"] == kept
    assert shown["home_names"] == {"suggested_value": False}
    assert KEPT not in hass_storage
    account.refuse.clear()
    result = await send(hass, form, api_token=API_TOKEN, name="flux", home_names=False)
    assert result["type"] is FlowResultType.CREATE_ENTRY


async def test_progress_is_seen_to_its_end(
    hass: HomeAssistant, account: Account, flux: Any
) -> None:
    """What fails at once is told after a while: a browser that does not listen yet would hang."""
    account.refuse["GET"] = (403, 10000)
    began = hass.loop.time()
    with patch("custom_components.wyoming_flux.worker_flow._SHOWN", 0.5):
        form = await begin(hass)
    assert form["errors"] == {"api_token": "cloudflare"}
    assert hass.loop.time() - began >= 0.5


@pytest.mark.parametrize("api_token", ["two words", "  "])
async def test_api_token_is_none(hass: HomeAssistant, api_token: str) -> None:
    """What can be no token is not sent anywhere."""
    menu = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    form = await hass.config_entries.flow.async_configure(
        menu["flow_id"], {"next_step_id": "worker"}
    )
    form = await send(hass, form, api_token=api_token, name="flux", home_names=False)
    assert form["errors"] == {"api_token": "cloudflare"}


async def test_dialogue_is_closed_before_its_end(
    hass: HomeAssistant, account: Account, flux: Any, hass_storage: dict[str, Any]
) -> None:
    """The new token outlives the dialogue: the next one finds the Worker and its token."""
    flux.faults.append(faults.Refuse(status=404, body="error code: 1042"))
    form = await begin(hass)
    assert form["step_id"] == "worker_wait"
    assert form["errors"] == {"base": "endpoint_not_found"}
    token = uploaded_token(account.asked)
    hass.config_entries.flow.async_abort(form["flow_id"])
    assert hass_storage[KEPT]["data"] == {"flux": token}
    flux.faults.clear()
    result = await begin(hass)
    assert result["data"] == {"worker_url": URL, "token": token}
    assert uploaded_token(account.asked) is None
    assert KEPT not in hass_storage


async def test_new_address_takes_its_time(hass: HomeAssistant, account: Account, flux: Any) -> None:
    """A Worker that does not answer yet can be asked again, without a second upload."""
    flux.faults.append(faults.Refuse(status=404, body="error code: 1042"))
    form = await begin(hass)
    assert form["step_id"] == "worker_wait"
    uploads = len(account.changes)
    flux.faults.clear()
    result = await send(hass, form)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert len(account.changes) == uploads


async def test_outdated_worker_leads_to_its_update(
    hass: HomeAssistant, account: Account, flux: Any
) -> None:
    """A repair says that the Worker is older; reconfiguring updates it, with the token it has."""
    result = await begin(hass)
    entry = result["result"]
    with patch.object(type(flux), "extra_headers", lambda _: {"x-wyoming-flux-worker": "0.0.9"}):
        await hass.config_entries.async_reload(entry.entry_id)
        await hass.async_block_till_done()
    (issue,) = ir.async_get(hass).issues.values()
    assert issue.translation_key == "worker_outdated"
    assert issue.translation_placeholders["version"] == "0.0.9"
    menu = await hass.config_entries.flow.async_init(
        DOMAIN, context={"source": SOURCE_RECONFIGURE, "entry_id": entry.entry_id}
    )
    assert menu["menu_options"] == ["reconfigure_url", "worker"]
    form = await hass.config_entries.flow.async_configure(
        menu["flow_id"], {"next_step_id": "worker"}
    )
    assert [str(key) for key in form["data_schema"].schema] == ["api_token", "name"]
    before = entry.data
    result = await send(hass, form, api_token=API_TOKEN, name="flux")
    assert result["reason"] == "reconfigure_successful"
    assert uploaded_token(account.asked) is None
    assert entry.data == before
    assert ir.async_get(hass).issues == {}


async def test_update_by_the_way_in(hass: HomeAssistant, account: Account, flux: Any) -> None:
    """Whoever adds the same Worker again gets it updated, and no second entry."""
    entry = (await begin(hass))["result"]
    before = entry.data
    result = await begin(hass)
    assert result["type"] is FlowResultType.ABORT
    assert result["reason"] == "worker_updated"
    assert entry.data == before
