"""A Cloudflare account on this machine: records what is asked, and answers as far as it is known.

Written from the API reference and from what wrangler accepts; it judges nothing. It is also the
proxy and the TLS of the hosts it plays, so that programs need not know of it: `https_proxy`, and
`SSL_CERT_FILE` for :attr:`Account.ca`.
"""

import contextlib
import email.parser
import http.client
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trustme

ID = "0123456789abcdef0123456789abcdef"
PREFIX = f"/client/v4/accounts/{ID}/workers"


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def parts(self) -> dict[str, tuple[str | None, str | None, bytes]]:
        """The parts of a form by name: file name, content type and content of each."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        form = email.parser.BytesParser().parsebytes(head + self.body)
        found = {}
        for part in form.get_payload():
            assert not isinstance(part, str)
            name = part.get_param("name", header="content-disposition")
            kind = part.get_content_type() if "content-type" in part else None
            # The parser of e-mail takes the line end before the boundary for the boundary's.
            found[str(name)] = (part.get_filename(), kind, part.get_payload(decode=True))
        return found


@dataclass
class Account:
    """What the account has, and what it was asked."""

    subdomain: str | None = "someone"
    scripts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Bindings and code of each Worker, by name."""
    asked: list[Asked] = field(default_factory=list)
    refuse: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Status and code with which requests of a method are refused."""
    worker_port: int | None = None
    """Where the Workers of this account answer, None while they do not."""
    port: int = 0
    ca: Path | None = None
    tls: ssl.SSLContext | None = None
    """For another port of the same hosts, while it runs."""
    _served: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Block until something is so, looking after each request that was served."""
        with self._served:
            assert self._served.wait_for(happened, timeout=60), "it did not happen"

    @contextlib.contextmanager
    def running(self, folder: Path) -> Iterator["Account"]:
        """Listen on a loopback port; certificates go into ``folder``."""
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        self.tls = tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("api.cloudflare.com", "*.someone.workers.dev").configure_cert(tls)
        account = self

        class Handler(_Handler):
            world = account
            context = tls

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    @property
    def changes(self) -> list[Asked]:
        """The requests that were no mere look."""
        return [one for one in self.asked if one.method != "GET"]

    def answer(self, asked: Asked) -> tuple[int, Any]:
        """Return the status and the result, or the error's code, of a request."""
        with self._served:
            self.asked.append(asked)
            answer = self.refuse.get(asked.method) or self._answer(asked)
            self._served.notify_all()
        return answer

    def _answer(self, asked: Asked) -> tuple[int, Any]:
        path = urlsplit(asked.path).path
        if path == "/client/v4/accounts":
            return 200, [{"id": ID, "name": "Home"}]
        if path == "/client/v4/memberships":
            return 200, [{"account": {"id": ID, "name": "Home"}}]
        if path == f"{PREFIX}/subdomain":
            if asked.method == "PUT":
                self.subdomain = json.loads(asked.body)["subdomain"]
            return (200, {"subdomain": self.subdomain}) if self.subdomain else (404, 10007)
        kind, name, rest = [*path.removeprefix(f"{PREFIX}/").split("/", 2), ""][:3]
        if asked.method == "PUT" and kind == "scripts" and not rest:
            return self._upload(name, asked)
        there = self.scripts.get(name)
        if there is None:
            return 404, 10090 if kind == "services" else 10007
        if (asked.method, rest) == ("POST", "versions"):
            return self._upload(name, asked)
        if rest == "subdomain" and asked.method == "POST":
            there["subdomain"] = json.loads(asked.body)
        return 200, {
            "": {
                "id": name,
                "default_environment": {"script": {"last_deployed_from": "wrangler"}},
                "subdomain": there["subdomain"],
            },
            "settings": {"bindings": there["bindings"]},
            "subdomain": there["subdomain"],
            "secrets": [one for one in there["bindings"] if one["type"] == "secret_text"],
            "deployments": {"deployments": [], "id": "d"},
            "script-settings": {},
        }[rest]

    def _upload(self, name: str, asked: Asked) -> tuple[int, Any]:
        if self.subdomain is None:
            return 400, 10063
        form = asked.parts
        metadata = json.loads(form["metadata"][2])
        before = self.scripts.get(name, {"bindings": [], "subdomain": {"enabled": False}})
        given = [{k: v for k, v in one.items() if k != "text"} for one in metadata["bindings"]]
        names = {one["name"] for one in given}
        kept = [
            one
            for one in before["bindings"]
            if one["type"] in metadata.get("keep_bindings", []) and one["name"] not in names
        ]
        self.scripts[name] = {
            "bindings": sorted(given + kept, key=lambda one: str(one["name"])),
            "code": form[metadata["main_module"]][2],
            "subdomain": before["subdomain"],
        }
        return 200, {
            "id": "0" * 32,
            "deployment_id": "1" * 32,
            "startup_time_ms": 1,
            "resources": {"script": {"etag": "e"}},
        }


def upload(changes: list[Asked]) -> Asked:
    """Return the one request that carries the module."""
    (found,) = [one for one in changes if one.headers.get("content-type", "").startswith("multi")]
    return found


class _Handler(BaseHTTPRequestHandler):
    world: Account
    context: ssl.SSLContext
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_CONNECT(self) -> None:
        """Play the proxy and the host behind it."""
        self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        self.connection = self.context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)  # type: ignore[assignment]
        self.close_connection = False

    def finish(self) -> None:
        """Close the TLS as well, of which the server does not know."""
        super().finish()
        self.connection.close()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        if self.headers["Host"].endswith(".workers.dev"):
            status, data = self._worker()
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, body)
            name = urlsplit(self.path).path.split("/")
            if name[-2:] == ["content", "v2"] and self.world.scripts.get(name[-3]):
                self.world.asked.append(asked)
                status, data = 200, self.world.scripts[name[-3]]["code"]
            else:
                status, result = self.world.answer(asked)
                error = [{"code": result, "message": "as told"}] if status >= 300 else []
                found = {"success": not error, "errors": error, "messages": []}
                pages = {"page": 1, "per_page": 50, "count": 1, "total_count": 1}
                found |= {"result": None if error else result, "result_info": pages}
                data = json.dumps(found).encode()
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"http://127.0.0.1:{self.world.port}/elsewhere")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _worker(self) -> tuple[int, bytes]:
        if self.world.worker_port is None:
            return 404, b"error code: 1042"
        connection = http.client.HTTPConnection("127.0.0.1", self.world.worker_port, timeout=10)
        try:
            connection.request("GET", self.path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    do_GET = do_PUT = do_POST = do_PATCH = _serve  # noqa: N815 - the names that http.server wants
