"""What script/pictures does: walks the dialogues in a browser as a new user, and takes pictures."""

import asyncio
import io
import os
import re
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402 - found by the path above
from playwright.async_api import Locator, Page, ViewportSize, async_playwright  # noqa: E402 - as above

from tests.e2e.hass import stage  # noqa: E402 - as above
from tests.e2e.hass.instance import INTEGRATION, OWNER, Instance, Socket  # noqa: E402 - as above
from tests.e2e.worker.account import Account  # noqa: E402 - as above
from tests.support.workers_dev import Uploaded, account_with_worker  # noqa: E402 - as above
from wyoming_flux.simulator import faults  # noqa: E402 - as above

IMAGES: Final = ROOT / "docs" / "images"
HERE: Final = ROOT / "tests" / "e2e" / "hass" / "workers_dev.py"
SERVICE: Final = "/config/integrations/integration/wyoming_flux"
SETTLED: Final = 800
"""Milliseconds after which nothing moves any more."""
COLOURS: Final = 128
WINDOW: Final[ViewportSize] = {"width": 900, "height": 1000}


class Walk:
    """A person in front of the frontend."""

    def __init__(self, page: Page, base: str, folder: Path) -> None:
        """Take a page, where Home Assistant is, and where pictures go."""
        self.page, self._base, self._folder = page, base, folder
        self.dialog = page.locator("dialog[open]")

    async def log_in(self) -> None:
        """Log in as the first user."""
        await self.page.goto(self._base)
        for field in ("username", "password"):
            await self.fill(field, OWNER[field])
        await self.page.keyboard.press("Enter")
        await self.page.wait_for_url(re.compile("home|overview|lovelace"))

    async def go(self, path: str) -> None:
        """Open a page of the frontend."""
        await self.page.goto(self._base + path)

    async def add(self, way: str) -> None:
        """Begin to add the integration in one way, as the button of My Home Assistant does."""
        await self.go("/config/integrations/dashboard/add?domain=wyoming_flux")
        await self.press("OK")
        await self.choose(way)
        await self.button("Submit").wait_for()

    def button(self, label: str) -> Locator:
        """Return a button by its label."""
        return self.page.get_by_role("button", name=label, exact=True).last

    async def press(self, label: str) -> None:
        """Press a button."""
        await self.button(label).click()

    async def choose(self, label: str) -> None:
        """Choose a line of a menu or a list."""
        await self.page.get_by_text(label, exact=True).click()

    async def fill(self, name: str, text: str) -> None:
        """Type into a field."""
        await self.page.locator(f"input[name={name}]").fill(text)

    async def sees(self, words: str) -> None:
        """Wait until something can be read."""
        await self.page.get_by_text(words).first.wait_for()

    async def picture(self, name: str, what: Locator | None = None) -> None:
        """Take a picture of something, or of all that the browser shows."""
        await self.page.mouse.move(1, 1)
        await self.page.wait_for_timeout(SETTLED)
        taken = Image.open(io.BytesIO(await (what or self.page).screenshot())).convert("RGB")
        path = self._folder / f"{name}.png"
        taken.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        print(
            f"{path.name}: {taken.width} x {taken.height}, {path.stat().st_size} bytes", flush=True
        )


async def ways_in(walk: Walk, account: Account) -> None:
    """Look at each way; go the one that makes a Worker in a new account."""
    await walk.go("/config/integrations/dashboard/add?domain=wyoming_flux")
    await walk.press("OK")
    await walk.sees("Make a Worker for me")
    await walk.picture("ha-menu", walk.dialog)
    await walk.add("I have a URL")
    await walk.picture("ha-url", walk.dialog)
    await walk.add("Make a Worker for me")
    await walk.fill("api_token", "a-token-of-cloudflare")
    await walk.picture("ha-make-worker", walk.dialog)
    await walk.press("Submit")
    await walk.sees("has no name at workers.dev")
    await walk.fill("subdomain", "someone")
    there, account.worker_port = account.worker_port, None
    await walk.press("Submit")
    await walk.sees("is being put into your account")
    await walk.picture("ha-progress", walk.dialog)
    account.worker_port = there
    await walk.sees("Use it in my assistant")
    await walk.picture("ha-assistant", walk.dialog)
    await walk.press("Submit")
    await walk.press("Skip and finish")


async def afterwards(walk: Walk, home: Instance, worker: Uploaded) -> None:
    """Speak, with a Flux that fails now and then, and look at what there is to see."""
    entries = await home.call("GET", "/api/config/config_entries/entry")
    (entry,) = [one["entry_id"] for one in entries if one["domain"] == "wyoming_flux"]
    async with home.websocket() as socket, stage.instant_engine(after=None) as local:
        pipeline = (await socket.command("assist_pipeline/pipeline/list"))["preferred_pipeline"]

        async def speak() -> None:
            run = await stage.run_pipeline(socket, pipeline, stage.sample())
            print(f"heard: {run.text}; answered: {run.speech}", flush=True)

        await speak()
        await at_rest(walk, socket, entry)
        other = await home.add_entry("wyoming", {"host": "127.0.0.1", "port": local})
        form: dict[str, Any] = stage.OPTIONS | {"keep_turns": 5}
        form["fallback"] = {"fallback_entity": await stage.engine_of(socket, other)}
        await home.set_options(entry, form)
        await speak()
        worker.faults.append(faults.Refuse(status=402, body=""))
        await speak()
        worker.faults.clear()

    await walk.go(SERVICE)
    await walk.press("Configure")
    await walk.sees("Last turns")
    await walk.picture("ha-options-menu", walk.dialog)
    await walk.choose("Last turns")
    links = walk.page.locator("a[href*=turns]")
    await links.first.wait_for()
    await walk.picture("ha-last-turns", walk.dialog)
    # Signed for who is logged in here: an administrator.
    async with walk.page.context.expect_page() as opened:
        await links.last.click()
    turn = await opened.value
    await turn.wait_for_load_state()
    await turn.set_viewport_size({"width": 900, "height": 720})
    await Walk(turn, home.base, walk._folder).picture("ha-turn")
    await turn.close()
    await walk.press("Next")
    await walk.sees("Sensitivity")
    await walk.picture("ha-options", walk.dialog)
    section = walk.page.locator("ha-expansion-panel").first
    await section.scroll_into_view_if_needed()
    await walk.picture("ha-fallback", section)

    worker.version = "0.0.9"
    await home.call("POST", f"/api/config/config_entries/entry/{entry}/reload")
    await walk.go("/config/repairs")
    await walk.page.get_by_text("is older than the integration").click()
    await walk.sees("without what is new")
    await walk.picture("ha-repair", walk.dialog)


async def at_rest(walk: Walk, socket: Socket, entry: str) -> None:
    """Look at what there is without a dialogue: the service, and the assistant that uses it."""
    devices = await socket.command("config/device_registry/list")
    (device,) = [one["id"] for one in devices if entry in one["config_entries"]]
    await walk.go(f"/config/devices/device/{device}")
    await walk.sees("Minutes today")
    # Beside it is the menu, which takes 256.
    await walk.page.set_viewport_size({"width": 1156, "height": 629})
    await walk.picture("ha-device", walk.page.locator("ha-config-device-page"))
    await walk.page.set_viewport_size(WINDOW)
    await walk.go("/config/voice-assistants/assistants")
    await walk.page.locator("assist-pref").get_by_text("Home Assistant", exact=True).first.click()
    chosen = walk.page.locator("assist-pipeline-detail-stt")
    await chosen.scroll_into_view_if_needed()
    await walk.picture("ha-voice-assistant", chosen)


async def main(folder: Path) -> None:
    """Start what there is to see, and walk."""
    async with AsyncExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wyoming-flux-")))
        account, worker = await stack.enter_async_context(account_with_worker(work))
        account.subdomain = None
        yaml = f"""
workers_dev:
  proxy: http://127.0.0.1:{account.port}
  ca: {account.ca}
  places: {{"wss://flux.someone.workers.dev/": "{worker.url}"}}
"""
        custom = (INTEGRATION, HERE)
        home = await stack.enter_async_context(Instance(work / "config", custom=custom, yaml=yaml))
        chromium = (await stack.enter_async_context(async_playwright())).chromium
        # Of pages that are served here there is nothing to be kept away from.
        browser = await chromium.launch(
            executable_path=os.environ["CHROMIUM"], args=["--no-sandbox"]
        )
        stack.push_async_callback(browser.close)
        page = await browser.new_page(viewport=WINDOW)
        walk = Walk(page, home.base, folder)
        try:
            await walk.log_in()
            await ways_in(walk, account)
            await afterwards(walk, home, worker)
        except BaseException:
            await page.screenshot(path=folder / "failed.png")
            raise


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES))
