"""Whether Flux can be used: said once when it changes, by log, state, repair issue and prompt."""

import logging
import re
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.event import async_call_later

from wyoming_flux import __version__
from wyoming_flux.errors import (
    AuthFailed,
    ConnectionLost,
    EndpointError,
    FluxTimeout,
    LoginNeeded,
    PaymentRequired,
    QuotaExceeded,
    Unreachable,
    WyomingFluxError,
    one_line,
)
from wyoming_flux.flux import Connector, check_flux
from wyoming_flux.minutes import MinutesUsedUp
from wyoming_flux.settings import FluxSettings
from wyoming_flux.utterance import Report

from . import issues

_LOGGER: Final = logging.getLogger(__name__)

_NETWORK: Final = frozenset({Unreachable.code, FluxTimeout.code, ConnectionLost.code})
"""Codes of one cause, which a bad network gives in turn: said once for all of them."""

_GONE_WITH_SUCCESS: Final = (
    issues.QUOTA,
    issues.PAYMENT,
    issues.DAILY_LIMIT,
    issues.LOGIN_PAGE,
)

RETRY_FIRST: Final = 30.0
RETRY_LONGEST: Final = 600.0
"""Seconds until the next look at an endpoint that was lost; doubled each time."""


class Health:
    """What the last use of the endpoint has shown.

    Knows nothing of turns: whoever used the endpoint reports how that went.
    """

    def __init__(
        self,
        hass: HomeAssistant,
        entry: ConfigEntry,
        connector: Connector,
        settings: Callable[[], FluxSettings],
    ) -> None:
        """Begin in good health; ``settings`` says what the background check asks for."""
        self.available = True
        self.last_error: str | None = None
        """Code of the last error since the start; it stays when all is well again."""
        self.last_request_id: str | None = None
        """What the endpoint called the request of that error, if it said so."""
        self.last_response_ms: float | None = None
        """Milliseconds from the end of speech to the text, in the last turn that gave one."""
        self.last_report: Report | None = None
        """What the last turn of Home Assistant came to."""
        self._hass = hass
        self._entry = entry
        self._connector = connector
        self._settings = settings
        self._failing: str | None = None
        self._limited = False
        self._dropped: tuple[str, ...] = ()
        self._stopped = False
        self._retry_in = RETRY_FIRST
        self._cancel_retry: CALLBACK_TYPE | None = None
        self._listeners: list[Callable[[], None]] = []

    @callback
    def async_listen(self, listener: Callable[[], None]) -> CALLBACK_TYPE:
        """Tell somebody when anything here changes; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @callback
    def succeeded(
        self, response_ms: float | None = None, *, refused: Collection[str] | None = None
    ) -> None:
        """Flux has answered; ``refused`` names the parameters that it did not take, if known."""
        if response_ms is not None:
            self.last_response_ms = response_ms
        if self._failing is not None:
            _LOGGER.info("%s can be used again", self._entry.title)
        self._failing = None
        self._limited = False
        self._retry_in = RETRY_FIRST
        self._stop_retrying()
        self.available = True
        issues.clear(self._hass, self._entry, *_GONE_WITH_SUCCESS)
        self._parameters_seen(all_taken=refused is not None and not refused)
        self._tell()

    @callback
    def failed(self, error: WyomingFluxError) -> None:
        """Flux could not be used: one line in the log until it can be used again."""
        self.last_error = error.code
        self.last_request_id = error.request_id if isinstance(error, EndpointError) else None
        cause = "network" if error.code in _NETWORK else error.code
        known = self._failing == cause
        said = error.traced if isinstance(error, EndpointError) else error
        _LOGGER.log(logging.DEBUG if known else logging.WARNING, "%s: %s", self._entry.title, said)
        if isinstance(error, EndpointError):
            self._failing = cause
            self.available = False
            self._act_on(error)
        self._parameters_seen()
        self._tell()

    @callback
    def limit_reached(self, error: QuotaExceeded) -> None:
        """Say, once, that the user's own daily limit kept a turn from starting."""
        self.last_error = error.code
        self.last_request_id = None
        _LOGGER.log(
            logging.DEBUG if self._limited else logging.WARNING, "%s: %s", self._entry.title, error
        )
        self._limited = True
        issues.create(self._hass, self._entry, issues.DAILY_LIMIT)
        self._tell()

    @callback
    def answered(self, report: Report, response_ms: float | None = None) -> None:
        """Take an utterance that was heard: by Flux, or all the same, which is no repair of it."""
        if report.endpoint == self._connector.name:
            self.succeeded(response_ms)
        elif (fault := self.fault_in(report)) is not None:
            self.failed(fault)

    @callback
    def reported(self, report: Report) -> None:
        """Take what became of an utterance on the network; the server has logged and answered."""
        if isinstance(report.error, MinutesUsedUp):
            self.limit_reached(report.error)
        elif isinstance(report.error, EndpointError):
            # Where only others have failed it is no fault of Flux.
            fault = self.fault_in(report) if report.causes else report.error
            if fault is not None:
                self.failed(fault)
        elif report.error is None and report.trigger is not None:
            self.answered(report)

    def fault_in(self, report: Report) -> WyomingFluxError | None:
        """Return what was wrong with Flux first, whoever was asked beside it."""
        name = self._connector.name
        return next((error for whose, error in report.causes if whose == name), None)

    @callback
    def async_stop(self) -> None:
        """Look no more."""
        self._stopped = True
        self._stop_retrying()

    def _act_on(self, error: EndpointError) -> None:
        if isinstance(error, LoginNeeded):
            issues.create(
                self._hass, self._entry, issues.LOGIN_PAGE, host=self._connector.endpoint.host
            )
        elif isinstance(error, AuthFailed):
            # Only a person can help, and is asked once: Home Assistant starts no second prompt.
            self._stop_retrying()
            self._entry.async_start_reauth(self._hass)
            return
        elif isinstance(error, QuotaExceeded):
            issues.create(self._hass, self._entry, issues.QUOTA)
        elif isinstance(error, PaymentRequired):
            issues.create(self._hass, self._entry, issues.PAYMENT)
        if self._cancel_retry is None and not self._stopped:
            self._cancel_retry = async_call_later(self._hass, self._retry_in, self._retry)
            self._retry_in = min(2 * self._retry_in, RETRY_LONGEST)

    def _parameters_seen(self, *, all_taken: bool = False) -> None:
        # What this connector does not know yet is no news: the issue of a former one stays.
        connector = self._connector
        if connector.plain is not None:
            issues.toggle(self._hass, self._entry, issues.PLAIN_WORKER, on=connector.plain)
            version = connector.worker_version
            issues.toggle(
                self._hass,
                self._entry,
                issues.WORKER_OUTDATED,
                on=version is not None and _release(version) < _release(__version__),
                version=one_line(version or ""),
                present=__version__,
            )
        if connector.dropped or self._dropped or all_taken:
            self._dropped = connector.dropped
            issues.toggle(
                self._hass,
                self._entry,
                issues.PARAMETERS_REFUSED,
                on=bool(connector.dropped),
                parameters=", ".join(connector.dropped),
            )

    @callback
    def _retry(self, _now: datetime) -> None:
        self._cancel_retry = None
        # Home Assistant keeps the task, and cancels it when the entry is unloaded.
        _ = self._entry.async_create_background_task(
            self._hass, self._check(), f"{self._entry.title}: is Flux back?"
        )

    async def _check(self) -> None:
        try:
            verdict = await check_flux(self._connector, self._settings())
        except WyomingFluxError as err:
            self.failed(err)
        else:
            # Or sentences would go on asking it last, for up to ten minutes.
            self._connector.learnt.mark_up()
            self.succeeded(refused=verdict.refused)

    def _stop_retrying(self) -> None:
        if self._cancel_retry is not None:
            self._cancel_retry()
            self._cancel_retry = None

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener()


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, as far as it has any."""
    return tuple(int(number) for number in re.findall(r"[0-9]{1,9}", version)[:3])
