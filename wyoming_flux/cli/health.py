"""``wyoming-flux health``: one Describe round trip, so that a container knows how its server is."""

import argparse
import asyncio
import contextlib
import time
from typing import Final

from wyoming.client import AsyncClient
from wyoming.info import Describe, Info

from wyoming_flux.address import parse_uri
from wyoming_flux.errors import InvalidSetting, os_reason

from . import interrupt, options
from .environment import Given

_DEFAULT_URI: Final = "tcp://127.0.0.1:10300"
_DEFAULT_TIMEOUT: Final = 5.0
# Where a server listens, and where it can be asked from the same machine.
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not listened on


class _Unhealthy(Exception):
    """The reason, as a sentence."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what no other command takes."""
    parser.description = (
        "Asks a running server for its description; exits with 0 if it answers as it should."
    )
    group = parser.add_argument_group("how")
    group.add_argument(
        "--timeout",
        type=float,
        default=_DEFAULT_TIMEOUT,
        metavar="SECONDS",
        help="how long to wait for the answer (default 5)",
    )


def run(arguments: argparse.Namespace, given: Given) -> int:
    """Ask once; return the exit code. Raises :class:`InvalidSetting`."""
    uri = given.values.get("uri") or _DEFAULT_URI
    address = parse_uri(uri)
    if address.path is None:
        host = _LOOPBACK.get(address.host, address.host)
        uri = f"tcp://[{host}]:{address.port}" if ":" in host else f"tcp://{host}:{address.port}"
    if not arguments.timeout > 0:
        raise InvalidSetting("", "--timeout must be above 0")
    try:
        return interrupt.run(_ask(uri, arguments.timeout))
    except _Unhealthy as reason:
        return options.failed(str(reason))


async def _ask(uri: str, seconds: float) -> int:
    started = time.perf_counter()
    client = AsyncClient.from_uri(uri)
    try:
        async with asyncio.timeout(seconds):
            await client.connect()
            await client.write_event(Describe().event())
            while (event := await client.read_event()) is not None:
                if Info.is_type(event.type):
                    elapsed = (time.perf_counter() - started) * 1000
                    print(_healthy(Info.from_event(event), uri, elapsed))
                    return 0
    except TimeoutError:
        raise _Unhealthy(f"{uri} did not answer within {seconds:g} s") from None
    except OSError as error:
        raise _Unhealthy(f"{uri} cannot be reached: {os_reason(error)}") from error
    except (EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        # What the library makes of an event that is none.
        raise _Unhealthy(f"{uri} does not speak Wyoming") from error
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
