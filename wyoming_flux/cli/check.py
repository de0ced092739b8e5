"""``wyoming-flux check``: one sentence said to Flux, to see what is there or what is wrong."""

import argparse
import dataclasses
import json
from typing import Final

from wyoming_flux.errors import EndpointError, InvalidSetting, WyomingFluxError
from wyoming_flux.flux import Connector, FluxConnection, Verdict, check_flux, what_to_do
from wyoming_flux.settings import FluxSettings, ProgramSettings

from . import interrupt, options, probe
from .environment import Given

# Response headers by which a person, or the endpoint's support, can tell what answered.
_HEADERS: Final = (
    "x-wyoming-flux-worker",
    "x-wyoming-flux-model",
    "server",
    "cf-ray",
    "cf-ai-req-id",
    "dg-request-id",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what this command does."""
    parser.description = (
        "Connects to Flux once, says a short sentence (some three seconds of audio), and tells what"
        " it heard, or what exactly is wrong and what to do about it."
    )
    parser.epilog = "exit codes: 0 Flux heard it, 1 it did not, 2 wrong option"
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--probe",
        metavar="FOLDER",
        help="instead, find out what the endpoint does: some two minutes, about a minute of audio;"
        " writes summary.md, profile.json (for simulate --profile) and records.jsonl",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before --probe")


def run(arguments: argparse.Namespace, given: Given) -> int:
    """Check; return the exit code. Raises :class:`~wyoming_flux.errors.InvalidSetting`."""
    endpoint = given.endpoint()
    flux, cut = given.flux()
    endpoint.check(flux)
    if arguments.probe is not None:
        if arguments.json:
            raise InvalidSetting("", "--json has no effect with --probe: read its files")
        return probe.run(endpoint, flux, arguments.probe, yes=arguments.yes)
    connector = Connector(endpoint, tell_texts=given.make(ProgramSettings).debug)
    if arguments.json:
        return _as_json(connector, flux)
    _say("Flux", f"{endpoint.url} (route {endpoint.route})")
    _say("Token", "given" if endpoint.token else "no token was given")
    if endpoint.headers:
        _say("Headers sent", ", ".join(endpoint.headers))
    if flux.keyterms or cut:
        left_out = f", {cut} left out" if cut else ""
        _say("Key terms", f"{len(flux.keyterms)}{left_out}")
    if advice := endpoint.advice(flux):
        _say("Beware", advice)
    try:
        verdict = interrupt.run(check_flux(connector, flux, speak=True, on_open=_opened))
    except WyomingFluxError as error:
        _say("Fault", error.code)
        if isinstance(error, EndpointError) and error.request_id:
            _say("Request id", error.request_id)
        if advice := what_to_do(error, endpoint):
            _say("What to do", advice)
        return options.failed(str(error))
    _say("First message", verdict.first)
    _say("Verdict", str(verdict))
    return 0


def _opened(connection: FluxConnection) -> None:
    _say("Handshake", f"{connection.connect_ms:.0f} ms")
    for name in _HEADERS:
        if value := connection.headers.get(name):
            _say(name, value)


def _as_json(connector: Connector, flux: FluxSettings) -> int:
    endpoint = connector.endpoint
    fields: dict[str, object] = {"url": endpoint.url, "route": endpoint.route}
    fields |= {"token": endpoint.token is not None, "advice": endpoint.advice(flux)}
    try:
        verdict: Verdict = interrupt.run(check_flux(connector, flux, speak=True))
    except WyomingFluxError as error:
        fields |= {"ok": False, "code": error.code, "text": str(error)}
        fields["request_id"] = getattr(error, "request_id", None)
        fields["what_to_do"] = what_to_do(error, endpoint)
    else:
        fields |= {"ok": True, "text": str(verdict), **dataclasses.asdict(verdict)}
    print(json.dumps(fields, ensure_ascii=False), flush=True)
    return 0 if fields["ok"] else options.ERROR


def _say(what: str, value: str | None) -> None:
    print(f"{what + ':':<24}{value}", flush=True)
