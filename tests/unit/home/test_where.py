"""Where Home Assistant is, as people type or paste it, and what is refused at the start."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wyoming_flux.address import home_assistant_url
from wyoming_flux.errors import InvalidSetting
from wyoming_flux.settings import HomeSettings

GIVEN = {
    "http://homeassistant.local:8123": "ws://homeassistant.local:8123/api/websocket",
    "http://homeassistant.local:8123/": "ws://homeassistant.local:8123/api/websocket",
    " http://192.168.1.10:8123/lovelace/0?edit=1#x ": "ws://192.168.1.10:8123/api/websocket",
    "homeassistant.local:8123": "ws://homeassistant.local:8123/api/websocket",
    "homeassistant": "ws://homeassistant/api/websocket",
    "//[fd00::1]:8123": "ws://[fd00::1]:8123/api/websocket",
    "http://homeassistant.local:8123/api": "ws://homeassistant.local:8123/api/websocket",
    "ws://localhost:8123/api/websocket": "ws://localhost:8123/api/websocket",
    "http://supervisor/core/websocket": "ws://supervisor/core/websocket",
    "https://home.example.org/config/dashboard": "wss://home.example.org/api/websocket",
    "HTTPS://Home.Example.org:8443": "wss://home.example.org:8443/api/websocket",
    "https://homeassistant.local:8123": "wss://homeassistant.local:8123/api/websocket",
    # A token travels unencrypted within the home alone.
    "http://home.example.org:8123": "wss://home.example.org:8123/api/websocket",
    "ws://home.example.org": "wss://home.example.org/api/websocket",
    "home.example.org": "wss://home.example.org/api/websocket",
}


@pytest.mark.parametrize("text", GIVEN)
def test_what_people_paste(text: str) -> None:
    """Any address of its pages leads to the WebSocket API; encrypted where it leaves the home."""
    assert home_assistant_url(text) == GIVEN[text]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://",
        "ftp://homeassistant.local",
        "http://home assistant:8123",
        "http://<your address>:8123",
        "http://homeassistant.local:x",
        "http://homeassistant.local:99999",
        "http://höme.local",
        "[::1",
    ],
)
def test_what_is_no_address(text: str) -> None:
    """It is refused with an example, before anything starts."""
    with pytest.raises(InvalidSetting, match="must be like http://homeassistant") as caught:
        home_assistant_url(text)
    assert caught.value.name == "home_assistant"


def test_a_password_in_the_address() -> None:
    """It is refused, and not repeated."""
    with pytest.raises(InvalidSetting, match="a token is needed") as caught:
        home_assistant_url("http://me:hunter2@homeassistant.local:8123")
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    """An address of a WebSocket, or a sentence; what is made of it is not changed again."""
    try:
        url = home_assistant_url(text)
    except InvalidSetting as error:
        assert str(error)  # noqa: PT017 - most texts are refused
    else:
        assert url.startswith(("ws://", "wss://"))
        assert home_assistant_url(url) == url


@pytest.mark.parametrize(
    ("url", "token", "name"),
    [
        ("http://homeassistant.local:8123", None, "home_assistant"),
        (None, "abc", "home_assistant_token"),
        ("http://homeassistant.local:8123", "two words", "home_assistant_token"),
        ("http://homeassistant.local:8123", "a\nb", "home_assistant_token"),
        ("http://homeassistant.local:8123", "täken", "home_assistant_token"),
        ("ftp://homeassistant.local", "abc", "home_assistant"),
        (8123, "abc", "home_assistant"),
    ],
)
def test_one_without_the_other(url: Any, token: str | None, name: str) -> None:
    """Address and token belong together, and are looked at before the server starts."""
    HomeSettings(home_assistant="http://homeassistant.local:8123", home_assistant_token="abc.d-f")
    with pytest.raises(InvalidSetting) as caught:
        HomeSettings(home_assistant=url, home_assistant_token=token)
    assert caught.value.name == name
    assert "abc" not in str(caught.value)
    assert "two words" not in str(caught.value)
