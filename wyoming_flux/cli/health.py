"""``wyoming-flux health``: one Describe round trip, so that a container knows how its server is."""

import asyncio
import contextlib
import time
from typing import Final

from wyoming.client import AsyncClient
from wyoming.info import Describe, Info

from wyoming_flux.errors import InvalidSetting, os_reason
from wyoming_flux.server.settings import parse_uri

from . import command, values
from .options import HEALTH
from .parser import Parser, add_options, make_parser

_DEFAULT_URI: Final = "tcp://127.0.0.1:10300"
_DEFAULT_TIMEOUT: Final = 5.0
# Where a server listens, and where it can be asked from the same machine.
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not listened on


class _Unhealthy(Exception):
    """The reason, as a sentence."""


def parser() -> Parser:
    """Return the parser of this command."""
    made = make_parser(
        HEALTH,
        "Asks a running server for its description; exits with 0 if it answers as it should.",
    )
    add_options(made, HEALTH)
    group = made.add_argument_group("how")
    group.add_argument(
        "--timeout", type=float, default=_DEFAULT_TIMEOUT, metavar="SECONDS", help="default 5"
    )
    return made


def run(argv: list[str]) -> int:
    """Ask once; return the exit code."""
    arguments = parser().parse_known_flags(argv)
    try:
        uri = values.read(HEALTH, arguments).text("uri") or _DEFAULT_URI
        address = parse_uri(uri)
    except InvalidSetting as error:
        command.wrong(str(error))
    if address.path is None:
        host = _LOOPBACK.get(address.host, address.host)
        uri = f"tcp://[{host}]:{address.port}" if ":" in host else f"tcp://{host}:{address.port}"
    if not arguments.timeout > 0:
        command.wrong("--timeout must be above 0")
    try:
        print(asyncio.run(_ask(uri, arguments.timeout)))
    except _Unhealthy as reason:
        return command.failed(str(reason))
    return 0


async def _ask(uri: str, seconds: float) -> str:
    started = time.perf_counter()
    client = AsyncClient.from_uri(uri)
    try:
        async with asyncio.timeout(seconds):
            await client.connect()
            await client.write_event(Describe().event())
            while (event := await client.read_event()) is not None:
                if Info.is_type(event.type):
                    elapsed = (time.perf_counter() - started) * 1000
                    return _healthy(Info.from_event(event), uri, elapsed)
    except TimeoutError:
        raise _Unhealthy(f"{uri} did not answer within {seconds:g} s") from None
    except OSError as error:
        raise _Unhealthy(f"{uri} cannot be reached: {os_reason(error)}") from error
    finally:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await client.disconnect()
    raise _Unhealthy(f"{uri} closed the connection without an answer")


def _healthy(info: Info, uri: str, elapsed: float) -> str:
    programs = [program for program in info.asr if program.installed]
    if not programs:
        raise _Unhealthy(f"{uri} is a Wyoming server, but not for speech-to-text")
    first = programs[0]
    return f"{uri}: {first.name} {first.version or ''} answered in {elapsed:.0f} ms"
