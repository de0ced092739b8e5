"""The server asks a real Home Assistant for the names of its home, and tells them to Flux."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Process, WyomingClient

LIGHT = "light.living_room_light"
COVER = "cover.garage_door"


async def make_home(socket: Any) -> tuple[str, str]:
    """Give the home odd names; return a token, and the id of an area."""
    token = await socket.command(
        "auth/long_lived_access_token", client_name="wyoming-flux", lifespan=10
    )
    floor = await socket.command("config/floor_registry/create", name="Souterrain")
    area = await socket.command(
        "config/area_registry/create",
        name="Zwiebelkeller",
        aliases=["Onion vault"],
        floor_id=floor["floor_id"],
    )
    await socket.command(
        "config/entity_registry/update",
        entity_id=LIGHT,
        name="Dulcinea",
        aliases=[None, "Rocinante"],
        area_id=area["area_id"],
    )
    await socket.command("config/entity_registry/update", entity_id=COVER, name="Secret gate")
    await expose(socket, LIGHT, exposed=True)
    await expose(socket, COVER, exposed=False)
    return token, area["area_id"]


async def expose(socket: Any, entity_id: str, *, exposed: bool) -> None:
    """Let Assist use an entity, or not."""
    await socket.command(
        "homeassistant/expose_entity",
        assistants=["conversation"],
        entity_ids=[entity_id],
        should_expose=exposed,
    )


async def told(server: Process, worker: Any, stage: Any) -> list[str]:
    """Say a sentence; return the key terms that Flux got with it."""
    async with await WyomingClient.connect(server.uri) as satellite:
        await satellite.begin()
        await satellite.fast(stage.sample())
        await satellite.stop()
        answer = await satellite.answer()
    assert answer.data["text"] == stage.SENTENCE
    return [value for name, value in worker.connections[-1].query if name == "keyterm"]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_names_of_a_real_home(
    start: Callable[[], Any], stage: Any, worker: Any, tmp_path: Path
) -> None:
    """What is exposed, and nothing else; a rename counts from the next sentence on."""
    home_assistant = await start()
    async with home_assistant.websocket() as socket:
        token, area = await make_home(socket)
        (tmp_path / "token").write_text(stage.TOKEN)
        (tmp_path / "home-token").write_text(f"{token}\n")
        arguments = (
            *("--worker-url", worker.url, "--route", "worker"),
            *("--token-file", str(tmp_path / "token"), "--keyterm", "Jellyfin", "--debug"),
            *("--home-assistant", f"{home_assistant.base}/config/dashboard"),
            *("--home-assistant-token-file", str(tmp_path / "home-token")),
        )
        async with await Process.serve(*arguments, home=tmp_path) as server:
            await server.wait_for("names of the home are known")
            assert await told(server, worker, stage) == [
                "Jellyfin",
                "Zwiebelkeller",
                "Onion vault",
                "Souterrain",
                "Dulcinea",
                "Rocinante",
            ]

            await socket.command(
                "config/area_registry/update", area_id=area, name="Xanthippe", aliases=[]
            )
            await server.wait_for("Names of the home: Xanthippe, Souterrain")
            assert (await told(server, worker, stage))[1] == "Xanthippe"

            await expose(socket, COVER, exposed=True)
            await expose(socket, LIGHT, exposed=False)
            await server.wait_for("Names of the home: Secret gate$")
            assert await told(server, worker, stage) == ["Jellyfin", "Secret gate"]

            await home_assistant.stop()
            assert await told(server, worker, stage) == ["Jellyfin", "Secret gate"]
            command_line = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
        log = "\n".join(server.log)
    assert token not in log + command_line.decode()
    assert "WARNING" not in log
    sent = [value for one in worker.connections for _, value in one.query]
    assert sent.count("Secret gate") == 2
    assert home_assistant.loud() == []


async def test_a_token_that_is_wrong_at_a_real_home(
    start: Callable[[], Any], stage: Any, worker: Any, tmp_path: Path
) -> None:
    """One warning with what to do, one failed login there, and every sentence as ever."""
    home_assistant = await start()
    (tmp_path / "home-token").write_text("mistyped-token")
    async with await Process.serve(
        *("--worker-url", worker.url, "--route", "worker"),
        *("--home-assistant", home_assistant.base.removeprefix("http://")),
        *("--home-assistant-token-file", str(tmp_path / "home-token")),
        home=tmp_path,
        environment={"WYOMING_FLUX_TOKEN": stage.TOKEN},
    ) as server:
        await server.wait_for("WARNING .*it does not take the token. Make a long-lived")
        assert await told(server, worker, stage) == []
        log = "\n".join(server.log)
    assert "mistyped-token" not in log
    assert home_assistant.log().count("Login attempt or request with invalid authentication") == 1
