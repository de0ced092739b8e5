"""*If Flux cannot be reached* in a real Home Assistant: Flux is killed while somebody speaks."""

import signal
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.processes import Process

LIGHT = "light.living_room_light"


async def test_flux_is_killed_in_the_sentence(start, stage, worker: Any, tmp_path: Path) -> None:
    """One second into it: an engine of the home, or a second Flux, hears the whole sentence."""
    home_assistant = await start()
    async with stage.instant_engine(after=None) as port, home_assistant.websocket() as socket:
        other = await home_assistant.add_entry("wyoming", {"host": "127.0.0.1", "port": port})
        for fallback in (
            {"fallback_entity": await stage.engine_of(socket, other)},
            {"fallback_url": worker.url, "fallback_token": stage.TOKEN},
        ):
            async with await Process.simulate(home=tmp_path) as flux:
                entry = await home_assistant.add_flux({"worker_url": flux.uri})
                await home_assistant.set_options(entry, stage.OPTIONS | {"fallback": fallback})
                pipeline = await stage.make_pipeline(socket, await stage.engine_of(socket, entry))
                kill = partial(flux.process.send_signal, signal.SIGKILL)
                for meanwhile in (kill, None):
                    run = await stage.run_pipeline(
                        socket, pipeline, stage.sample(), meanwhile=meanwhile, at=1.0
                    )
                    assert (run.text, run.speech) == (stage.SENTENCE, "Turned on the light")
                    await home_assistant.wait_state(LIGHT, "on")
                    print(f"{next(iter(fallback))}: {run.latency_ms:.0f} ms after the last word")
                    assert run.latency_ms < 10_000
            health = await home_assistant.call("GET", f"/api/diagnostics/config_entry/{entry}")
            assert not health["data"]["health"]["available"]
    await home_assistant.stop()
    # That it is missed is said once for each, however many sentences do without it.
    loud = [line for line in home_assistant.loud() if "ignores parameters" not in line]
    assert ["others are asked" in line for line in loud] == [True, False] * 2
    assert all("Deepgram Flux" in line for line in loud[1::2])
