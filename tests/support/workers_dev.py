"""The Worker that somebody uploads into an account on this machine, with a simulated Flux.

    python -m tests.support.workers_dev FOLDER

plays Cloudflare at port 443 of every address, for script/service and script/docker: where the names
of its hosts lead here, a person types what they would type for the real one. FOLDER gets ca.pem.
"""

import asyncio
import json
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from tests.e2e.worker.account import Account, Asked
from wyoming_flux import __version__
from wyoming_flux.simulator import Simulator

HEALTH = json.dumps({"ok": True, "version": __version__}).encode()


class Uploaded(Simulator):
    """Shows itself as our Worker does; its token is what was uploaded last."""

    def __init__(self, account: Account, **flux: Any) -> None:
        """Take the account that it belongs to."""
        super().__init__(token="not uploaded yet", **flux)
        self.version = __version__
        self._account = account

    def extra_headers(self) -> Mapping[str, str]:
        """Return what tells our Worker."""
        return {"x-wyoming-flux-worker": self.version}

    @property
    def port(self) -> int:
        """Where it listens, on loopback."""
        return int(self.url.rpartition(":")[2])

    async def _upgrade(self, websocket: ServerConnection, request: Request) -> Response | None:
        self.token = uploaded_token(self._account.asked) or self.token
        if request.path == "/health":
            headers = Headers({"content-length": str(len(HEALTH)), "connection": "close"})
            return Response(200, "OK", headers, HEALTH)
        return await super()._upgrade(websocket, request)


def uploaded_token(asked: list[Asked]) -> str | None:
    """Return the token that went into the Worker with the last upload, if there was one."""
    forms = [one for one in asked if one.headers.get("content-type", "").startswith("multi")]
    if not forms:
        return None
    bindings = json.loads(forms[-1].parts["metadata"][2])["bindings"]
    return next((one["text"] for one in bindings if "text" in one), None)


@asynccontextmanager
async def account_with_worker(folder: Path) -> AsyncGenerator[tuple[Account, Uploaded]]:
    """Run an account in which nothing has been made, and what will be its Worker."""
    with Account().running(folder) as account:
        async with Uploaded(account) as worker:
            account.worker_port = worker.port
            yield account, worker


async def at_its_own_port(account: Account, worker: Uploaded) -> asyncio.Server:
    """Return what hands connections at port 443 to the API or to the Worker, by their host."""

    async def carry(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:  # the other side has left; so does this one
            pass
        finally:
            writer.close()

    async def accept(reader: StreamReader, writer: StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        port = worker.port if b".workers.dev\r\n" in head else account.port
        back, there = await asyncio.open_connection("127.0.0.1", port)
        there.write(head)
        await asyncio.gather(carry(reader, there), carry(back, writer))

    return await asyncio.start_server(accept, port=443, ssl=account.tls)


async def main(folder: Path) -> None:
    """Play Cloudflare until it is ended."""
    async with account_with_worker(folder) as (account, worker):
        await (await at_its_own_port(account, worker)).serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
