"""The connection to Home Assistant: obeys the dialogue, and is opened again when it breaks."""

import asyncio
import itertools
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import (
    ConnectionClosed,
    InvalidMessage,
    InvalidStatus,
    WebSocketException,
)

from wyoming_flux.address import home_assistant_url
from wyoming_flux.errors import os_reason
from wyoming_flux.websocket import PlainConnect

from .dialogue import PATIENCE, Dialogue, HomeFault, not_home_assistant

_LOGGER: Final = logging.getLogger(__name__)

FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 300.0
"""Seconds from a failure to the next attempt: twice as many each time."""
AUTH_PAUSE: Final = 3600.0
"""Seconds after a wrong token: each attempt is a failed login there, which may ban this machine."""
PATIENT: Final = 6
"""Failures until one that may pass by itself (a restart, an update) is a warning: two minutes."""
MAX_MESSAGE: Final = 4 << 20
"""Bytes of one answer: several times what the largest homes have."""
_MAX_QUEUE: Final = 4
_BURST: Final = 50
_REST: Final = 0.05
"""So many frames, then so many seconds without: a flood takes no more of the loop than that."""
_TOO_BIG: Final = 1009
_WAIT: Final = "Look whether it runs, and whether that is its address; it is asked again."


class HomeAssistant:
    """Knows the names of a home, as long as :meth:`run` runs.

    ``url`` is what :func:`~wyoming_flux.address.home_assistant_url` takes. ``sleep`` and ``chance``
    (0 to 1) are for tests.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Take where it is; nothing is asked yet. Raises ``InvalidSetting``."""
        self.names: tuple[str, ...] = ()
        """The names that were found last, ranked; they stay while it cannot be reached."""
        self._url = home_assistant_url(url)
        self._host = urlsplit(self._url).netloc
        self._token = token
        self._sleep = sleep
        self._chance = chance
        self._failures = 0
        self._told: tuple[int, str] | None = None
        """Level and advice of the fault that was told last; None: all is well, and told."""
        self._well = False

    async def run(self) -> None:
        """Keep the names fresh until cancelled; raises nothing else."""
        while True:
            auth = False
            try:
                await self._talk()
            except HomeFault as fault:
                auth = fault.auth
                self._failed(fault)
            except Exception:
                _LOGGER.exception("Asking Home Assistant for the names of the home failed")
                self._failures += 1
            await self._sleep(pause(self._failures, self._chance(), auth=auth))

    async def _talk(self) -> None:
        """Open one connection and stay; ends with a :class:`HomeFault` alone."""
        socket = await self._open()
        loop = asyncio.get_running_loop()
        dialogue = Dialogue(self._token, loop.time())
        try:
            for number in itertools.count(1):
                if number % _BURST == 0:
                    await asyncio.sleep(_REST)
                try:
                    async with asyncio.timeout_at(dialogue.due):
                        frame = await socket.recv()
                except TimeoutError:
                    answers = dialogue.tick(loop.time())
                else:
                    answers = dialogue.receive(frame, loop.time())
                if dialogue.names is not None:
                    self._use(dialogue.names)
                for answer in answers:
                    async with asyncio.timeout(PATIENCE):
                        await socket.send(answer)
        except (OSError, ConnectionClosed) as error:
            # Not "from error", which may hold what was sent.
            raise _fault(error) from None
        finally:
            await socket.close()

    async def _open(self) -> ClientConnection:
        options: dict[str, Any] = {}
        if self._url.startswith("wss:"):
            # Reading the authorities takes some 20 ms of disk and CPU: not in the loop.
            options["ssl"] = await asyncio.to_thread(ssl.create_default_context)
        try:
            async with asyncio.timeout(PATIENCE):
                return await PlainConnect(
                    self._url,
                    max_size=MAX_MESSAGE,
                    max_queue=_MAX_QUEUE,
                    happy_eyeballs_delay=0.25,
                    **options,
                )
        except (OSError, WebSocketException, ValueError, EOFError) as error:
            raise _fault(error) from None

    def _use(self, names: tuple[str, ...]) -> None:
        self._failures = 0
        if not self._well:
            self._well, self._told = True, None
            _LOGGER.info(
                "%d names of the home are known from Home Assistant at %s", len(names), self._host
            )
        if names != self.names:
            self.names = names
            _LOGGER.debug("Names of the home: %s", ", ".join(names))

    def _failed(self, fault: HomeFault) -> None:
        self._failures += 1
        self._well = False
        passing = fault.passing and self._failures < PATIENT
        level = logging.INFO if passing else logging.WARNING
        if self._told != (level, fault.advice):
            self._told = (level, fault.advice)
            _LOGGER.log(
                level,
                "No names from Home Assistant at %s: %s. %s (Said once, until it changes.)",
                self._host,
                fault,
                fault.advice,
            )


def pause(failures: int, chance: float, *, auth: bool) -> float:
    """Return the seconds until the next attempt; ``chance`` (0 to 1) spreads many servers."""
    longer = min(FIRST_PAUSE * 2.0 ** min(max(failures - 1, 0), 16), LONGEST_PAUSE)
    return (AUTH_PAUSE if auth else longer) * (0.75 + chance / 2)


def _fault(error: Exception) -> HomeFault:
    match error:
        case InvalidStatus():
            return _refusal(error.response.status_code)
        case ConnectionClosed():
            if error.sent is not None and error.sent.code == _TOO_BIG and not error.rcvd_then_sent:
                return HomeFault(
                    f"one of its answers is longer than {MAX_MESSAGE >> 20} MiB",
                    "Names that you need can be given with --keyterm.",
                )
            return HomeFault("it closed the connection", _WAIT, passing=True)
        case TimeoutError():
            return HomeFault("it did not answer in time", _WAIT, passing=True)
        case ssl.SSLCertVerificationError():
            return HomeFault(
                f"its certificate cannot be trusted: {error.verify_message}",
                "Give its http:// address in your own network, or a name that is in the"
                " certificate.",
            )
        case ssl.SSLError():
            return HomeFault(
                "no encrypted connection could be made",
                "Is it https:// that is spoken there? In your own network http:// will do.",
            )
        case UnicodeError():
            return HomeFault("that is not the name of a host", "Check --home-assistant.")
        case OSError():
            return HomeFault(f"it cannot be reached: {os_reason(error)}", _WAIT, passing=True)
        case EOFError() | InvalidMessage() if not isinstance(error.__cause__, ValueError):
            return HomeFault(
                "it hangs up instead of answering",
                "Look whether it runs; if it has a certificate, give its https:// address.",
                passing=True,
            )
        case _:
            return not_home_assistant()


def _refusal(status: int) -> HomeFault:
    if status >= 500:
        # The Supervisor says so while Home Assistant starts.
        return HomeFault(f"it is not ready (HTTP {status})", _WAIT, passing=True)
    if status in (401, 403):
        return HomeFault(
            f"it refuses this machine (HTTP {status})",
            "After wrong tokens it may have banned it: look into ip_bans.yaml beside its"
            " configuration.",
        )
    return not_home_assistant()
