"""An endpoint that takes three seconds to open, as others saw Workers AI do on a cold start."""

import time
from collections.abc import Callable
from typing import Any

from wyoming_flux.simulator.faults import ConnectLate

OPENS_AFTER = 3.0


async def test_the_dialogue_ends_in_an_entry(start: Callable[[], Any], stage: Any) -> None:
    """The dialogue waits as long as a sentence would, and then the light goes on."""
    slow = ConnectLate(seconds=OPENS_AFTER)
    async with stage.Worker(token=stage.TOKEN, faults=[slow]) as worker:
        home_assistant = await start()
        began = time.monotonic()
        entry = await home_assistant.add_flux(
            {
                "worker_url": worker.url,
                "token": stage.TOKEN,
                "sample_rate": "16000",
                "home_names": True,
            }
        )
        # Once for the dialogue, once for the entry that it makes.
        assert time.monotonic() - began > 2 * OPENS_AFTER
        async with home_assistant.websocket() as socket:
            pipeline = await stage.make_pipeline(socket, await stage.engine_of(socket, entry))
            run = await stage.run_pipeline(socket, pipeline, stage.sample())
        assert (run.text, run.speech) == (stage.SENTENCE, "Turned on the light")
        await home_assistant.wait_state("light.living_room_light", "on")
        await home_assistant.stop()
        assert home_assistant.loud() == []
