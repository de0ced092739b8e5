"""``wyoming-flux check``: one connection to Flux, to see what is there or what is wrong."""

import argparse
import asyncio
from typing import Final

from wyoming_flux.errors import WyomingFluxError
from wyoming_flux.flux import (
    Connected,
    Connector,
    FluxWarning,
    Message,
    Other,
    TurnInfo,
    first_message,
)
from wyoming_flux.settings import FluxSettings

from . import options
from .environment import Given

_CONNECT: Final = 10.0

# Response headers by which a person, or the endpoint's support, can tell what answered.
_HEADERS: Final = (
    "x-wyoming-flux-worker",
    "x-wyoming-flux-model",
    "server",
    "cf-ray",
    "cf-ai-req-id",
    "dg-request-id",
)

_ADVICE: Final = {
    "auth": "Make a new token, put it into a file, and name that with --token-file;"
    " for Cloudflare Access put the two headers of a service token into --header-file.",
    "quota": "Wait until 00:00 UTC, or use a plan with a larger allowance.",
    "payment": "Open the billing page of the account at Cloudflare or Deepgram.",
    "endpoint-not-found": "Compare --worker-url with the address that `npx wrangler deploy`"
    " printed, letter by letter.",
    "not-flux": "Check --worker-url, and --route if a proxy stands in between.",
    "refused": "Try again without key terms and thresholds to see which parameter it is.",
    "unreachable": "Check the name, the network and the firewall; then try again in a minute.",
    "timeout": "Try again; if it stays so, look at the status page of Cloudflare or Deepgram.",
    "connection-lost": "Try again; if it stays so, look at the log of the Worker"
    " (npx wrangler tail).",
    "invalid-setting": "Change this setting.",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what this command does."""
    parser.description = (
        "Connects to Flux once, sends half a second of silence, and says what answered, or what"
        " exactly is wrong and what to do about it."
    )
    parser.epilog = "exit codes: 0 Flux answered, 1 it did not, 2 wrong option"


def run(_: argparse.Namespace, given: Given) -> int:
    """Check; return the exit code. Raises :class:`~wyoming_flux.errors.InvalidSetting`."""
    endpoint = given.endpoint()
    flux, cut = given.flux()
    endpoint.check(flux)
    _say("Flux", f"{endpoint.url} (route {endpoint.route})")
    _say("Token", "given" if endpoint.token else "none")
    if endpoint.headers:
        _say("Headers sent", ", ".join(endpoint.headers))
    if flux.keyterms or cut:
        left_out = f", {cut} left out" if cut else ""
        _say("Key terms", f"{len(flux.keyterms)}{left_out}")
    try:
        asyncio.run(_check(Connector(endpoint), flux))
    except WyomingFluxError as error:
        _say("Fault", error.code)
        request_id = getattr(error, "request_id", None)
        if request_id:
            _say("Request id", request_id)
        if error.code in _ADVICE:
            _say("What to do", _ADVICE[error.code])
        return options.failed(str(error))
    return 0


async def _check(connector: Connector, flux: FluxSettings) -> None:
    connection = await connector.connect(flux, timeout=_CONNECT)
    try:
        _say("Handshake", f"{connection.connect_ms:.0f} ms")
        for name in _HEADERS:
            if value := connection.headers.get(name):
                _say(name, value)
        if connection.dropped:
            _say("Refused", f"{', '.join(connection.dropped)}; it works without")
        if connector.plain:
            _say("Worker", "not that of wyoming-flux: key terms and thresholds have no effect")
        _say("First message", _described(await first_message(connection, flux)))
    finally:
        await connection.close()


def _described(message: Message) -> str:
    match message:
        case Connected():
            return "Connected"
        case TurnInfo():
            return f"TurnInfo {message.event}"
        case FluxWarning(code, description):
            return f"Warning {code}: {description}"
        case Other(kind):
            return kind
        case _:
            return type(message).__name__


def _say(what: str, value: str) -> None:
    print(f"{what + ':':<24}{value}", flush=True)
