"""Tries an installation: starts its server on its own simulator, asks, transcribes, stops it.

    tryout.py image NAME TARGET BUILDAH...    what script/image built: its own command, as its own
                                              user, on a read-only root, as process 1 of its own
    tryout.py environment FOLDER              a virtual environment with wyoming-flux in it

All of it in a network that is nothing but loopback, which takes root.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
SAMPLE: Final = "turn_on_the_living_room_light.wav"
TEXT: Final = "turn on the living room light"
PORT: Final = 10300
FLUX: Final = "ws://127.0.0.1:8787"
SIMULATED: Final = {"WYOMING_FLUX_WORKER_URL": FLUX, "WYOMING_FLUX_ROUTE": "workers-ai"}
# A processor that is emulated takes its time.
PATIENCE: Final = 180.0

_CONTAINER: Final = """\
set -e
root=$1 user=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mkdir -p "$root/mnt" "$root/data"
mount --bind "$SAMPLES" "$root/mnt"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$STATE" "$root/var/lib/wyoming-flux"
[ -z "$DATA" ] || mount --bind "$DATA" "$root/data"
mount -o remount,bind,ro "$root"
exec chroot --userspec="$user" "$root" "$@"
"""


class Environment:
    """A virtual environment with wyoming-flux in it."""

    samples = str(ROOT / "samples")
    command: Sequence[str] = ("wyoming-flux", "serve")
    health: Sequence[str] = ("wyoming-flux", "health")

    def __init__(self, folder: Path) -> None:
        """Take the environment's folder."""
        # Nothing of this repository: neither its folder nor its variables.
        self._environment = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "HOME": "/nonexistent"}

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            command,
            env={**self._environment, **variables},
            cwd="/",
            executable=shutil.which(command[0], path=self._environment["PATH"]),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def process(self, started: subprocess.Popen[str]) -> int:
        """Return the server's own process."""
        return started.pid


class Image:
    """An image that was built, with its files laid out in a folder."""

    samples = "/mnt"

    def __init__(self, name: str, buildah: Sequence[str], stack: contextlib.ExitStack) -> None:
        """Mount it until *stack* is left."""
        container = _output(*buildah, "from", "--pull-never", name)
        stack.callback(_output, *buildah, "rm", container)
        self.files = Path(_output(*buildah, "mount", container))
        described = json.loads(_output(*buildah, "inspect", "--type", "image", name))
        config: dict[str, Any] = described["Docker"]["config"]
        self.command: list[str] = [*(config["Entrypoint"] or ()), *(config["Cmd"] or ())]
        self.health: list[str] = config["Healthcheck"]["Test"][1:]
        self.labels: dict[str, str] = config["Labels"]
        self.environment = dict(one.split("=", 1) for one in config["Env"])
        users = (self.files / "etc/passwd").read_text().splitlines()
        self.ids = {line.split(":")[0]: ":".join(line.split(":")[2:4]) for line in users}
        self.user = self.ids[config["User"]]
        # Which processor qemu plays, if it does.
        self.environment |= {k: v for k, v in os.environ.items() if k == "QEMU_CPU"}
        self.data: Path | None = None
        self._state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.chown(self._state, *map(int, self.ids["flux"].split(":")))

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command in a container; variables that are the container's own go to it."""
        own = tuple(command) == tuple(self.command)
        paths = {
            "SAMPLES": str(ROOT / "samples"),
            "STATE": str(self._state),
            "DATA": str(self.data) if own and self.data is not None else "",
        }
        return subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--", "env"),
                *(f"{key}={value}" for key, value in paths.items()),
                *("sh", "-c", _CONTAINER, "sh", str(self.files)),
                *(self.user if own else self.ids["flux"], *command),
            ],
            env={**self.environment, "PATH": self.environment["PATH"] + ":/usr/sbin", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def process(self, started: subprocess.Popen[str]) -> int:
        """Return the process that is number 1 inside."""
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
        return int(children.read_text().split()[0])


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _run(place: Environment | Image, *command: str) -> subprocess.CompletedProcess[str]:
    process = place.start(*command)
    out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@contextlib.contextmanager
def _running(
    place: Environment | Image, process: subprocess.Popen[str]
) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        _kill(place, process)
        process.wait(PATIENCE)


def _kill(place: Environment | Image, process: subprocess.Popen[str]) -> None:
    """End a process at once.

    In a container this means the one inside: since that has become another user, the kernel no
    longer ends it together with what started it.
    """
    if process.poll() is None:
        os.kill(place.process(process), signal.SIGKILL)


@contextlib.contextmanager
def _supervisor(told: list[tuple[str, str, Any]]) -> Iterator[None]:
    """Stand in for the Supervisor on loopback; *told* gets path, authorization and body."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing: what is asked for names of the home is not answered here."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.append((self.path, self.headers["Authorization"], body))
            answer = b'{"result": "ok", "data": {"uuid": "0"}}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    server = HTTPServer(("127.0.0.1", 80), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()


def check(
    place: Environment | Image, variables: dict[str, str], told: Sequence[object] = ("nothing",)
) -> None:
    """Start it, ask its health, transcribe, stop it; raises AssertionError or a time-out.

    It is not stopped before something was *told*.
    """
    with contextlib.ExitStack() as stack:
        flux = place.start("wyoming-flux", "simulate", "--recognizer", "script")
        stack.enter_context(_running(place, flux))
        started = time.monotonic()
        server = place.start(*place.command, **variables)
        stack.enter_context(_running(place, server))
        while (health := _run(place, *place.health)).returncode != 0:
            if server.poll() is not None or time.monotonic() - started > PATIENCE:
                _kill(place, server)
                raise AssertionError(f"it does not answer: {health.stderr} {server.communicate()}")
        print(f"health:      {health.stdout.strip()} ({time.monotonic() - started:.1f} s)")
        if isinstance(place, Image):
            status = Path(f"/proc/{place.process(server)}/status").read_text()
            uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()
            assert set(uids[1:]) == {"1000"}, f"it runs as {uids}"
            print("user:        1000, on a read-only root")
        file = f"{place.samples}/{SAMPLE}"
        heard = _run(
            place, "wyoming-flux", "transcribe", "--via", f"tcp://127.0.0.1:{PORT}", "--json", file
        )
        answer = json.loads(heard.stdout or "{}")
        assert answer.get("text") == TEXT, (heard.stdout, heard.stderr)
        print(f"transcript:  {answer['text']} ({answer['after_speech_ms']} ms after the last word)")
        while not told and time.monotonic() - started < PATIENCE:
            time.sleep(0.1)
        asked = time.monotonic()
        os.kill(place.process(server), signal.SIGTERM)
        assert server.wait(timeout=PATIENCE) == 0, server.communicate()
        print(f"SIGTERM:     ended with 0 after {time.monotonic() - asked:.1f} s")


def check_ear(image: Image) -> None:
    """Hear a recording with the ear on this machine, if the image has it."""
    if not any(image.files.glob("opt/wyoming-flux/lib/python3*/site-packages/moonshine_voice")):
        return
    if "QEMU_CPU" in image.environment:
        print("ear:         not tried: an emulated processor is slower than speech")
        return
    file = f"{image.samples}/{SAMPLE}"
    heard = _run(image, "wyoming-flux", "transcribe", "--local", "--json", file)
    answer = json.loads(heard.stdout or "{}")
    assert answer.get("text", "").lower().rstrip(".") == TEXT, (heard.stdout, heard.stderr)
    print(f"ear:         {answer['text']}")


def check_image(name: str, target: str, buildah: Sequence[str]) -> None:
    """Check an image; the app has options that root alone can read, and a Supervisor to tell."""
    with contextlib.ExitStack() as stack:
        image = Image(name, buildah, stack)
        found = [
            one for one in ("bin/sh", "bin/bash", "usr/bin/dpkg") if (image.files / one).exists()
        ]
        assert not found, found
        kept = {"title", "source", "licenses", "version"}
        assert {f"org.opencontainers.image.{one}" for one in kept} <= set(image.labels)
        if target == "server":
            check(image, SIMULATED)
            check_ear(image)
            return
        # Without these the Supervisor does not know what it has pulled.
        labels = {key: image.labels[f"io.hass.{key}"] for key in ("type", "version", "arch")}
        assert labels["type"] == "app"
        assert labels["version"] == image.labels["org.opencontainers.image.version"]
        assert labels["arch"] in ("amd64", "aarch64")
        told: list[tuple[str, str, Any]] = []
        stack.enter_context(_supervisor(told))
        image.data = data = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options = data / "options.json"
        options.write_text(json.dumps({"worker_url": FLUX, "route": "workers-ai"}))
        options.chmod(0o600)
        # The names that a container's resolver knows: its own, and the Supervisor's.
        (image.files / "etc/hosts").write_text("127.0.0.1 localhost supervisor\n")
        check(image, {"SUPERVISOR_TOKEN": "of-the-test"}, told)
        uri = f"tcp://{os.uname().nodename}:{PORT}"
        expected = {"service": "wyoming", "config": {"uri": uri}}
        assert told == [("/discovery", "Bearer of-the-test", expected)], told
        assert (data / "wyoming-flux").stat().st_uid == 1000
        print(f"discovery:   {uri}")
        check_ear(image)


def main() -> int:
    """Begin anew in a network that is nothing but loopback, then check."""
    if "--inside" not in sys.argv:
        if shutil.which("unshare") is None:
            print("tryout: this needs unshare (util-linux)", file=sys.stderr)
            return 1
        inside = 'ip link set lo up 2>/dev/null || ifconfig lo up; exec "$@"'
        own = [sys.executable, *sys.argv, "--inside"]
        return subprocess.run(
            ["unshare", "--net", "sh", "-c", inside, "sh", *own], check=False
        ).returncode
    kind, what, *rest = [one for one in sys.argv[1:] if one != "--inside"]
    if kind == "image":
        check_image(what, rest[0], rest[1:])
    else:
        check(Environment(Path(what).absolute()), SIMULATED)
    print("it works")
    return 0


if __name__ == "__main__":
    sys.exit(main())
