"""Each row of "What can come back" in docs/endpoints.md, on real sockets."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import patch

import pytest

from tests.support.far_end import raw_server, response, silent
from wyoming_flux.errors import EndpointError
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.simulator import Simulator
from wyoming_flux.simulator.faults import Dropped, ErrorMessage, Fault
from wyoming_flux.utterance import Transcriber

if TYPE_CHECKING:
    from tests.e2e.worker.conftest import FarEnd

PAGE = Path(__file__).parents[3] / "docs" / "endpoints.md"
SAID = "said by the other side"


class Row(NamedTuple):
    """One row: which part of the page it is in, what is seen, and what we make of it."""

    section: str
    status: str
    seen: str
    error: str
    again: str


def rows() -> Iterator[Row]:
    """Read the page; the last table has no statuses."""
    section = ""
    for line in PAGE.read_text(encoding="utf-8").partition("## What can come back")[2].splitlines():
        if line.startswith("### "):
            section = line.removeprefix("### ")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or cells[0].startswith(("-", "Status", "What")):
            continue
        status = cells.pop(0) if cells[0].isdigit() else ""
        seen, _meaning, error, again = cells
        yield Row(section, status, seen.replace("`", ""), error.strip("`"), again)


REFUSALS = [row for row in rows() if row.status]
BREAKS = [row for row in rows() if not row.status]


def body(row: Row) -> str:
    """Return what the other side says, in its own shape."""
    code = row.seen
    if row.section.startswith("From our Worker"):
        return json.dumps({"error": {"source": "worker", "code": code, "message": SAID}})
    if "behind our Worker" in row.section:
        return json.dumps({"error": {"source": "upstream", "code": code, "message": SAID}})
    if row.section.startswith("From Workers AI itself"):
        if code == "{}":
            return code
        errors = [{"code": int(code), "message": SAID}]
        if code in ("2001", "2009"):  # AI Gateway's list has another name
            return json.dumps({"success": False, "result": [], "messages": [], "error": errors})
        return json.dumps({"errors": errors, "success": False, "result": {}})
    if row.section.startswith("From Deepgram"):
        if code == "INVALID_PARAMETER":
            return json.dumps({"code": code, "description": SAID})
        return json.dumps({"err_code": code, "err_msg": SAID, "request_id": "dg-1"})
    if code.isdigit():
        return f"error code: {code}"
    return "<html><title>Some page</title></html>"


def test_page_is_read() -> None:
    """The tables are found, so that the tests below are not empty."""
    assert len({row.section for row in REFUSALS}) == 5
    assert len(REFUSALS) > 45
    assert len(BREAKS) == len(BREAK_CASES)
    assert {row.seen for row in BREAKS} == set(BREAK_CASES)


@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: f"{row.section[5:]}-{row[1]}-{row.seen}")
async def test_refusal(far_end: "FarEnd", row: Row) -> None:
    """The error code and whether we try again are those of the page."""
    headers = {}
    if row.seen.startswith("to "):
        headers["Location"] = "https://home.cloudflareaccess.com/cdn-cgi/access/login/x"
    elif row.seen == "elsewhere":
        headers["Location"] = "https://example.org/"
    far_end.refusal = (int(row.status), body(row), headers)
    endpoint = Endpoint.from_url(f"ws://127.0.0.1:{far_end.port}", token="the-token")
    with pytest.raises(EndpointError) as caught:
        await Connector(endpoint).connect(FluxSettings(keyterms=("lamp",)))
    error = caught.value
    assert error.code == row.error, str(error)
    again = ["plainer"] * (len(far_end.requests) > 1) + ["yes"] * error.retryable
    assert (", ".join(again) or "no") == row.again, str(error)
    assert endpoint.host in str(error)
    assert error.status == int(row.status)
    assert "keyterm=lamp" in far_end.requests[0].path
    if "plainer" in again:
        _, no_thresholds, no_terms, least = (request.path for request in far_end.requests)
        assert ("keyterm" in no_thresholds, "eot" in no_thresholds) == (True, False)
        assert ("keyterm" in no_terms, "eot" in no_terms) == (False, True)
        assert least.endswith("sample_rate=16000")


# --- No answer, or not to the end -----------------------------------------------------------------


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close after the request, without an answer."""
    await reader.read(4096)


async def plain_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as a server without TLS answers a client with it."""
    await reader.read(4096)
    writer.write(response("400 Bad Request"))


async def connect_error(url: str, seconds: float = 2.5) -> EndpointError:
    """Return why no connection can be made."""
    with pytest.raises(EndpointError) as caught:
        await Connector(Endpoint.from_url(url)).connect(FluxSettings(), timeout=seconds)
    return caught.value


async def nothing_listens() -> EndpointError:
    """Connect to a port that was given back."""
    async with raw_server(silent) as address:
        pass
    return await connect_error(f"ws://{address}")


async def no_such_name() -> EndpointError:
    """Connect to a name that the resolver does not know; it is not really asked."""
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with patch("socket.getaddrinfo", side_effect=unknown):
        return await connect_error("ws://flux.invalid")


async def no_answer() -> EndpointError:
    """Connect to something that does not answer."""
    async with raw_server(silent) as address:
        return await connect_error(f"ws://{address}", 0.2)


async def no_address_answers() -> EndpointError:
    """Connect to an address that swallows all packets: its queue of connections is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        return await connect_error(f"ws://127.0.0.1:{listener.getsockname()[1]}", 0.2)


async def closed_at_once() -> EndpointError:
    """Connect to something that hangs up."""
    async with raw_server(hang_up) as address:
        return await connect_error(f"ws://{address}")


async def no_tls() -> EndpointError:
    """Speak TLS to something that does not."""
    async with raw_server(plain_http) as address:
        return await connect_error(f"wss://{address}")


def in_the_middle(fault: Fault) -> Callable[[], Awaitable[EndpointError]]:
    """Return a check with a stream that breaks each time before any text, until we give up."""

    async def run() -> EndpointError:
        async with Simulator(ingest_rate=0, faults=[fault]) as simulator:
            connector = Connector(Endpoint.from_url(simulator.url + AI_PATH, route="workers-ai"))
            async with Transcriber([connector], FluxSettings(), UtteranceSettings()) as transcriber:
                await transcriber.send(bytes(32000))
                with pytest.raises(EndpointError) as caught:
                    await transcriber.result()
            # The first and two more, and not one more than that.
            assert len(simulator.connections) == 3
        return caught.value

    return run


AI_PATH = "/client/v4/accounts/0123abcd/ai/run/@cf/deepgram/flux"
BREAK_CASES: dict[str, Callable[[], Awaitable[EndpointError]]] = {
    "connection refused": nothing_listens,
    "unknown host name": no_such_name,
    "no answer": no_answer,
    "no address answers": no_address_answers,
    "closed before an answer": closed_at_once,
    "no TLS where wss:// says so": no_tls,
    "broken in the middle (1006)": in_the_middle(Dropped(after=0.3, code=1006)),
    "closed in the middle (1000)": in_the_middle(Dropped(after=0.3, code=1000)),
    "closed in the middle (1011)": in_the_middle(Dropped(after=0.3, code=1011)),
    "message Error": in_the_middle(ErrorMessage(after=0.3)),
}


@pytest.mark.parametrize("row", BREAKS, ids=lambda row: row.seen)
async def test_break(row: Row) -> None:
    """Where there is no answer, or not to the end, error and attempts are those of the page."""
    error = await BREAK_CASES[row.seen]()
    assert error.code == row.error, str(error)
    assert ("yes" if error.retryable else "no") == row.again, str(error)
