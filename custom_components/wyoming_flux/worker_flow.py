"""*Make a Worker for me*: the part of the dialogue that puts the Worker into an account."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, override

import voluptuous as vol
from homeassistant.config_entries import SOURCE_RECONFIGURE, ConfigFlowResult
from homeassistant.data_entry_flow import AbortFlow
from homeassistant.helpers.selector import (
    BooleanSelector,
    SelectOptionDict,
    SelectSelector,
    SelectSelectorConfig,
    TextSelector,
)

from wyoming_flux.cloudflare import NAME, Account, AccountNeeded, Deployed, Plan
from wyoming_flux.errors import AuthFailed, InvalidSetting, WyomingFluxError
from wyoming_flux.flux import Endpoint

from . import options as opt
from .check import FormError
from .const import (
    CONF_ACCOUNT,
    CONF_API_TOKEN,
    CONF_HOME_NAMES,
    CONF_NAME,
    CONF_NEW_TOKEN,
    CONF_SUBDOMAIN,
    CONF_TOKEN,
    CONF_WORKER_URL,
)
from .deploy import KeptTokens, async_deploy, check_api_token
from .flow import SECRET, FluxFlow
from .options_flow import selector

_LOGGER: Final = logging.getLogger(__name__)

WORKER_SCHEMA: Final = vol.Schema(
    {
        vol.Required(CONF_API_TOKEN): SECRET,
        vol.Required(CONF_NAME, default=NAME): TextSelector(),
        vol.Required(CONF_HOME_NAMES, default=opt.DEFAULTS[CONF_HOME_NAMES]): selector(
            opt.OPTIONS[CONF_HOME_NAMES]
        ),
    }
)
UPDATE_SCHEMA: Final = vol.Schema(
    {vol.Required(CONF_API_TOKEN): SECRET, vol.Required(CONF_NAME, default=NAME): TextSelector()}
)
SUBDOMAIN_SCHEMA: Final = vol.Schema({vol.Required(CONF_SUBDOMAIN): TextSelector()})
TOKEN_SCHEMA: Final = vol.Schema(
    {
        vol.Optional(CONF_TOKEN): SECRET,
        vol.Required(CONF_NEW_TOKEN, default=False): BooleanSelector(),
    }
)
NOTHING: Final = vol.Schema({})

_SHOWN: Final = 2.0
"""Seconds that a progress lasts at least: a browser begins to listen for its end after it shows it,
and waits for ever for one that it has missed."""

# Where a field of a plan is asked for.
_STEPS: Final = {
    "account_id": ("worker_account", CONF_ACCOUNT),
    "subdomain": ("worker_subdomain", CONF_SUBDOMAIN),
    "name": ("worker", CONF_NAME),
}


def account_schema(accounts: tuple[Account, ...]) -> vol.Schema:
    """Return the form that asks for the account; its id is typed where Cloudflare lists none."""
    field: SelectSelector | TextSelector = TextSelector()
    if accounts:
        choices = [SelectOptionDict(value=one.id, label=one.name or one.id) for one in accounts]
        field = SelectSelector(SelectSelectorConfig(options=choices))
    return vol.Schema({vol.Required(CONF_ACCOUNT): field})


def _told(field: str, error: WyomingFluxError) -> FormError:
    """Return what went wrong as a sentence at a field."""
    reason = str(error)
    return FormError(field, "cloudflare", {"reason": f"{reason[:1].upper()}{reason[1:]}"})


class WorkerFlow(FluxFlow):
    """Asks for an API token, uploads, waits until the Worker answers, forgets the API token."""

    _api_token: str = ""
    _plan: Plan = Plan()
    _worker_options: Mapping[str, Any] = MappingProxyType({})
    _accounts: tuple[Account, ...] = ()
    _deploying: asyncio.Task[Deployed] | None = None
    _deployed: Deployed | None = None
    _fault: FormError | None = None
    """What the next form has to say."""

    async def async_step_worker(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for the API token and the Worker's name."""
        updating = self.source == SOURCE_RECONFIGURE
        suggested: dict[str, Any] = {CONF_NAME: self._plan.name, **self._worker_options}
        if self._fault is not None and self._fault.field != CONF_API_TOKEN:
            suggested[CONF_API_TOKEN] = self._api_token
        if user_input is not None:
            self._worker_options = (
                self._get_reconfigure_entry().options
                if updating
                else {CONF_HOME_NAMES: user_input[CONF_HOME_NAMES]}
            )
            suggested = user_input
            try:
                self._api_token = check_api_token(user_input[CONF_API_TOKEN])
                self._plan = replace(self._plan, name=user_input[CONF_NAME].strip().lower())
            except InvalidSetting as err:
                self._fault = _told(err.name, err)
            else:
                return await self.async_step_worker_progress()
        fault, self._fault = self._fault, None
        schema = UPDATE_SCHEMA if updating else WORKER_SCHEMA
        return self._show("worker", schema, suggested, fault)

    async def async_step_worker_progress(
        self, _user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Deploy, and go on where something has to be asked."""
        if self._deploying is None:
            self._deploying = self.hass.async_create_task(
                self._async_deploy(),
                "wyoming_flux makes a Worker",
            )
        if not self._deploying.done():
            return self.async_show_progress(
                step_id="worker_progress",
                progress_action="deploy",
                progress_task=self._deploying,
                description_placeholders={"name": self._plan.name},
            )
        task, self._deploying = self._deploying, None
        return self.async_show_progress_done(next_step_id=self._next_step(task))

    async def _async_deploy(self) -> Deployed:
        deploying = async_deploy(self.hass, self._plan, self._api_token, KeptTokens(self.hass))
        made, _ = await asyncio.gather(deploying, asyncio.sleep(_SHOWN), return_exceptions=True)
        if isinstance(made, BaseException):
            raise made
        return made

    def _next_step(self, task: asyncio.Task[Deployed]) -> str:
        """Return where a deployment leads that has ended."""
        try:
            self._deployed = task.result()
        except AccountNeeded as err:
            self._accounts = err.accounts
            return "worker_account"
        except InvalidSetting as err:
            step, field = _STEPS.get(err.name, ("worker", "base"))
            if step != "worker_subdomain" or self._plan.subdomain:
                self._fault = _told(field, err)
            return step
        except AuthFailed as err:
            self._fault = _told(CONF_API_TOKEN, err)
        except WyomingFluxError as err:
            self._fault = _told("base", err)
        except Exception:
            # A fault of ours: a form that says so is worth more than a dialogue that breaks.
            _LOGGER.exception("Making the Worker failed unexpectedly")
            self._fault = FormError("base", "unknown")
        else:
            return "worker_token"
        return "worker"

    async def async_step_worker_account(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask for the account, where the API token does not tell."""
        return await self._async_plan(
            "worker_account", account_schema(self._accounts), "account_id", user_input
        )

    async def async_step_worker_subdomain(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Ask for a name at workers.dev, which a new account does not have."""
        return await self._async_plan("worker_subdomain", SUBDOMAIN_SCHEMA, "subdomain", user_input)

    async def _async_plan(
        self, step: str, schema: vol.Schema, name: str, user_input: dict[str, Any] | None
    ) -> ConfigFlowResult:
        """Ask for one more field of the plan, and begin again with it."""
        field = _STEPS[name][1]
        if user_input is not None:
            value = user_input[field].strip().lower()
            try:
                self._plan = replace(self._plan, **{name: value})
            except InvalidSetting as err:
                self._fault = _told(field, err)
            else:
                return await self.async_step_worker_progress()
        fault, self._fault = self._fault, None
        return self._show(step, schema, user_input, fault, name=self._plan.name)

    async def async_step_worker_token(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Find the token of the Worker; ask for one that only its owner can know."""
        assert self._deployed is not None  # noqa: S101 - this step comes after the deployment
        url = self._deployed.url
        fault: FormError | None = None
        if user_input is None:
            for token in await self._async_tokens(url):
                data, fault = await self._async_try_worker(token)
                if fault is None:
                    return await self._async_worker_made(data)
                if fault.field != CONF_TOKEN:
                    self._fault = fault
                    return await self.async_step_worker_wait()
            fault = None
        elif user_input[CONF_NEW_TOKEN]:
            self._plan = replace(self._plan, new_token=True)
            return await self.async_step_worker_progress()
        else:
            data, fault = await self._async_try_worker(user_input.get(CONF_TOKEN))
            if fault is None:
                return await self._async_worker_made(data)
        return self._show("worker_token", TOKEN_SCHEMA, None, fault, url=url)

    async def async_step_worker_wait(
        self, user_input: dict[str, Any] | None = None
    ) -> ConfigFlowResult:
        """Say that the Worker does not answer yet, and try again when the form is sent."""
        if user_input is not None:
            return await self.async_step_worker_token()
        assert self._deployed is not None  # noqa: S101 - this step comes after the deployment
        fault, self._fault = self._fault, None
        return self._show("worker_wait", NOTHING, None, fault, url=self._deployed.url)

    async def _async_try_worker(self, token: str | None) -> tuple[dict[str, Any], FormError | None]:
        assert self._deployed is not None  # noqa: S101 - this is only done after the deployment
        url = Endpoint.from_url(self._deployed.url).url
        if (entry := self._entry_at(url)) is not None:
            # Deployed for an entry that is there: it needs no second one, but the token.
            made = self._deployed.token
            known = {**entry.data, **({CONF_TOKEN: made} if made else {})}
            self.hass.config_entries.async_update_entry(entry, data=known)
            self.hass.config_entries.async_schedule_reload(entry.entry_id)
            await KeptTokens(self.hass).async_set(self._plan.name, None)
            self._api_token = ""
            raise AbortFlow("worker_updated")
        return await self._async_try(self._deployed.url, token, self._worker_options)

    async def _async_tokens(self, url: str) -> list[str | None]:
        """Return the tokens that may be the Worker's, the likeliest first."""
        assert self._deployed is not None  # noqa: S101 - this is only done after the deployment
        if self._deployed.token is not None:
            return [self._deployed.token]
        found = [await KeptTokens(self.hass).async_get(self._plan.name)]
        if self.source == SOURCE_RECONFIGURE:
            entry = self._get_reconfigure_entry()
            if entry.data[CONF_WORKER_URL] == Endpoint.from_url(url).url:
                found.append(entry.data.get(CONF_TOKEN))
        # Without a token as well: it may let anybody in.
        return [token for token in found if token] + [None]

    async def _async_worker_made(self, data: Mapping[str, Any]) -> ConfigFlowResult:
        self._api_token = ""
        if self.source == SOURCE_RECONFIGURE:
            await KeptTokens(self.hass).async_set(self._plan.name, None)
            return self.async_update_reload_and_abort(self._get_reconfigure_entry(), data=data)
        return await self._async_made(data, self._worker_options)

    @override
    async def async_on_create_entry(self, result: ConfigFlowResult) -> ConfigFlowResult:
        """Forget the token that the entry has now."""
        if self._deployed is not None:
            await KeptTokens(self.hass).async_set(self._plan.name, None)
        return await super().async_on_create_entry(result)
