"""From options to who is asked."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from wyoming_flux.cli.endpoints import endpoints
from wyoming_flux.cli.environment import Given
from wyoming_flux.ear import usable_model
from wyoming_flux.errors import InvalidSetting
from wyoming_flux.flux import Connector

URL = "wss://flux.example.workers.dev"
SECOND = "wss://second.example.workers.dev"
DEEPGRAM = "wss://api.deepgram.com/v2/listen"
ENGINE = "tcp://127.0.0.1:10301"

needs_ear = pytest.mark.skipif(
    importlib.util.find_spec("moonshine_voice") is None, reason="needs the extra `local`"
)


def names(**values: object) -> list[str]:
    """Return who is asked, in order."""
    return [way.name for way in endpoints(Given(values))]


def test_the_worker_alone() -> None:
    """Without a fallback there is one endpoint."""
    assert names(worker_url=URL) == ["flux.example.workers.dev"]


def test_fallbacks_keep_their_order() -> None:
    """After the Worker, as they were given."""
    given = names(worker_url=URL, fallback=(ENGINE, SECOND))
    assert given == ["flux.example.workers.dev", ENGINE, "second.example.workers.dev"]


@needs_ear
def test_local_alone() -> None:
    """An ear needs no Worker; with one it is the last fallback, named once."""
    assert names(local=True) == ["local"]
    assert names(local=True, fallback=(ENGINE,)) == ["local", ENGINE]
    assert names(worker_url=URL, local=True, fallback=("local", ENGINE))[1:] == [ENGINE, "local"]


def test_tokens_go_to_the_urls_in_order() -> None:
    """An engine between takes none; a dash stands for none."""
    given = Given(
        {"worker_url": URL, "fallback": (SECOND, ENGINE, DEEPGRAM), "fallback_token": ("-", "t0k")}
    )
    tokens = [way.endpoint.token for way in endpoints(given) if isinstance(way, Connector)]
    assert tokens == [None, None, "t0k"]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, ""),
        ({"worker_url": URL, "fallback": (ENGINE, ENGINE)}, "fallback"),
        ({"worker_url": URL, "fallback": ("tcp://nothing",)}, "fallback"),
        ({"worker_url": URL, "fallback": ("ftp://a",)}, "fallback"),
        (
            {"worker_url": URL, "fallback": (SECOND,), "fallback_token": ("a", "b")},
            "fallback_token",
        ),
        ({"worker_url": URL, "fallback": (ENGINE,), "fallback_token": ("a",)}, "fallback_token"),
        ({"worker_url": URL, "local_model": "/tmp"}, "local_model"),
        ({"worker_url": URL, "local": True, "local_model": "/nowhere"}, "local_model"),
    ],
)
def test_what_cannot_work_is_said_at_start(values: dict[str, object], name: str) -> None:
    """With the option that is to blame."""
    if "local" in values:
        pytest.importorskip("moonshine_voice")
    with pytest.raises(InvalidSetting) as caught:
        endpoints(Given(dict(values)))
    assert caught.value.name == name


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install, and which other fallback there is."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(InvalidSetting, match=r"pip install .*\[local\].*another fallback"):
        names(worker_url=URL, fallback=("local",))


@needs_ear
def test_another_model(tmp_path: Path) -> None:
    """The folder is used that was named."""
    folder = tmp_path / "tiny-en"
    shutil.copytree(usable_model().path, folder)
    assert names(local=True, local_model=str(folder)) == ["local"]
