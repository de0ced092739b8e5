"""The ways in, from the menu to a sentence that a light obeys: five steps each.

1. Install (HACS), which is not done here. 2. Add the integration and choose the way.
3. Its one form. 4. *Use it in my assistant*. 5. Speak.
"""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.hass.instance import INTEGRATION
from tests.support.workers_dev import account_with_worker
from wyoming_flux.simulator import Simulator

HERE = Path(__file__).with_name("workers_dev.py")
DEEPGRAM = "wss://api.deepgram.com/v2/listen"


@pytest.fixture
async def home(start, stage, tmp_path: Path) -> AsyncGenerator[Any]:
    """A new Home Assistant, for which Cloudflare and Deepgram are on this machine."""
    async with (
        account_with_worker(tmp_path) as (account, worker),
        Simulator(token="deepgram-key", profile="deepgram") as deepgram,
    ):
        yaml = f"""
workers_dev:
  proxy: http://127.0.0.1:{account.port}
  ca: {account.ca}
  places: {{"wss://flux.someone.workers.dev/": "{worker.url}", "{DEEPGRAM}": "{deepgram.url}"}}
"""
        running = await start(custom=(INTEGRATION, HERE), yaml=yaml)
        yield running
        await running.stop()
        assert running.loud() == []


async def test_five_steps(home: Any, stage, worker) -> None:
    """One form and one question after the menu, with what is proposed in both."""
    light = "light.living_room_light"
    forms = {
        "worker": {"api_token": "of-cloudflare"},
        "url": {"worker_url": worker.url, "token": stage.TOKEN},
        "deepgram": {"token": "deepgram-key"},
    }
    used = set()
    async with home.websocket() as socket:
        for way, form in forms.items():
            await home.add_entry("wyoming_flux", {"next_step_id": way}, form, {})
            known = await socket.command("assist_pipeline/pipeline/list")
            (assistant,) = known["pipelines"]
            used.add(assistant["stt_engine"])
            run = await stage.run_pipeline(socket, assistant["id"], stage.sample())
            assert (run.text, run.speech) == (stage.SENTENCE, "Turned on the light")
            await home.wait_state(light, "on")
            await home.call("POST", "/api/services/light/turn_off", json={"entity_id": light})
            await home.wait_state(light, "off")
    assert len(used) == len(forms)
