"""Entry point of the Home Assistant app: reads its options, then becomes the server.

The Supervisor writes the options for root alone, so this begins as root and drops to the image's
user before anything listens. A second process tells the Supervisor where the server is, once the
server answers; Docker's init, which the Supervisor starts, looks after both.

Facts: home-assistant/supervisor, ``apps/options.py``, ``api/discovery.py``, ``api/proxy.py``
(2026-08-21).
"""

import json
import os
import pwd
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DATA: Final = Path("/data")
SUPERVISOR: Final = "http://supervisor"
USER: Final = "flux"
PORT: Final = 10300
HOME_NAMES: Final = "home_names"
_PREFIX: Final = "WYOMING_FLUX_"
_TIMEOUT: Final = 10.0
_PAUSE: Final = 0.5


def variables(options: Mapping[str, object]) -> dict[str, str]:
    """Return the settings as the variables that the server reads; what is empty is not set."""
    found = {}
    for name, value in options.items():
        if value is None or value in ("", []):
            continue
        if isinstance(value, bool):
            text = "yes" if value else "no"
        elif isinstance(value, list):
            text = "\n".join(str(one) for one in value)
        else:
            text = str(value)
        found[_PREFIX + name.upper()] = text
    return found


def prepare(data: Path, user: pwd.struct_passwd) -> dict[str, str]:
    """Return the server's environment, with a folder of its own in *data*. Needs root."""
    options = json.loads((data / "options.json").read_text("utf-8"))
    token = os.environ.get("SUPERVISOR_TOKEN", "")
    if options.pop(HOME_NAMES, True) and token:
        # What leads to Home Assistant there also opens the Supervisor: only who needs it gets it.
        options["home_assistant"] = f"{SUPERVISOR}/core/websocket"
        options["home_assistant_token"] = token
    folder = data / "wyoming-flux"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, user.pw_uid, user.pw_gid)
    # Under these names nothing in the server looks for it.
    kept = {name: value for name, value in os.environ.items() if name != "SUPERVISOR_TOKEN"}
    kept.pop("HASSIO_TOKEN", None)
    return {**kept, **variables(options), "STATE_DIRECTORY": str(folder), "HOME": str(folder)}


def become(user: pwd.struct_passwd) -> None:
    """Give up root for good."""
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def is_answering(port: int) -> bool:
    """Return whether the server of this container answers a Describe."""
    try:
        with socket.create_connection(("127.0.0.1", port), _TIMEOUT) as connection:
            connection.sendall(b'{"type": "describe"}\n')
            with connection.makefile("rb") as lines:
                return bool(json.loads(lines.readline(65536))["type"] == "info")
    except (OSError, ValueError, KeyError):
        return False


def tell(supervisor: str, token: str, uri: str) -> None:
    """Tell the Supervisor where the server is. Raises OSError."""
    request = urllib.request.Request(  # noqa: S310 - the Supervisor's address, http by nature
        f"{supervisor}/discovery",
        data=json.dumps({"service": "wyoming", "config": {"uri": uri}}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    # No proxy of the environment stands between an app and the Supervisor.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=_TIMEOUT) as answer:
        answer.read()


def announce(supervisor: str, token: str, port: int, *, tries: int = 600) -> bool:
    """Wait until the server answers, then tell the Supervisor; return whether that worked."""
    uri = f"tcp://{socket.gethostname()}:{port}"
    reason = "the server does not answer"
    for _ in range(tries):
        if is_answering(port):
            try:
                tell(supervisor, token, uri)
            except urllib.error.HTTPError as error:
                error.close()
                _say(f"the Supervisor does not take {uri}: {error.code} {error.reason}")
                return False
            except OSError as error:
                reason = f"the Supervisor cannot be reached: {error}"
            else:
                _say(f"Home Assistant is told of {uri}")
                return True
        time.sleep(_PAUSE)
    _say(f"Home Assistant was not told of {uri}: {reason}")
    return False


def _say(what: str) -> None:
    print(f"app: {what}", file=sys.stderr, flush=True)


def main() -> None:
    """Prepare, leave a process behind that announces, and become the server."""
    user = pwd.getpwnam(USER)
    token = os.environ.get("SUPERVISOR_TOKEN", "")
    environment = prepare(DATA, user)
    become(user)
    if token:
        child = os.fork()
        if child == 0:
            # Forked twice, so that init is its parent: the server knows nothing of children.
            if os.fork() == 0:
                os._exit(0 if announce(SUPERVISOR, token, PORT) else 1)
            os._exit(0)
        os.waitpid(child, 0)
    os.execvpe("wyoming-flux", ["wyoming-flux", "serve"], environment)  # noqa: S606, S607


if __name__ == "__main__":
    main()
