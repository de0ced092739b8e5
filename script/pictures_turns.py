"""What script/pictures does for docs/tuning.md: plays turns to the simulator, shows their pages."""

import asyncio
import io
import os
import sys
import tempfile
import wave
from array import array
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402 - found by the path above
from playwright.async_api import Browser, async_playwright  # noqa: E402 - as above

from tests.support.make_records import Play, keep  # noqa: E402 - as above
from wyoming_flux.cli import main as command  # noqa: E402 - as above
from wyoming_flux.settings import FluxSettings, UtteranceSettings  # noqa: E402 - as above

IMAGES: Final = ROOT / "docs" / "images"
SAMPLES: Final = ROOT / "samples"
WORKER: Final = "flux.example.workers.dev"
GARAGE: Final = "close_the_garage_door"
BLINDS: Final = "open_the_blinds_in_the_bedroom"
MUSIC: Final = "play_some_music_in_the_kitchen"
BEDROOM: Final = "set_the_bedroom_temperature_to_twenty_degrees"
LIGHT: Final = "turn_on_the_living_room_light"
EACH: Final = (GARAGE, BLINDS, MUSIC, BEDROOM, LIGHT)
RATE: Final = 16000
LOUD: Final = 300
"""Samples above this are speech: the sentences begin and end with it."""
COLOURS: Final = 128


def silence(seconds: float) -> bytes:
    """Return so much of it."""
    return bytes(2 * int(RATE * seconds))


def spoken(name: str) -> bytes:
    """Return a sample from its first sound to its last."""
    with wave.open(str(SAMPLES / f"{name}.wav")) as sample:
        samples = array("h", sample.readframes(sample.getnframes()))
    loud = [at for at, value in enumerate(samples) if abs(value) > LOUD]
    return samples[loud[0] : loud[-1] + 1].tobytes()


def say(
    *names: str, faults: tuple[str, ...] = (), fallback: bool = False, **settings: float
) -> Play:
    """Return these sentences as one, with 0.75 s between them."""
    audio = silence(0.75).join(map(spoken, names))
    hold = settings.pop("hold", None)
    return Play(
        audio=silence(0.5) + audio + silence(4),
        script=[("and " if at else "") + name.replace("_", " ") for at, name in enumerate(names)],
        wav=True,
        faults=faults,
        fallback=fallback,
        flux=FluxSettings(eager_eot_threshold=settings.get("eager")),
        turn=UtteranceSettings(hold=None if hold is None else int(hold)),
    )


USED_UP: Final = "refuse:status=429,code=3036"
PLAYS: Final = {
    **{f"plain {number} {name}": say(name) for number in range(3) for name in EACH},
    "nothing": Play(
        audio=silence(5), script=["-"], wav=True, turn=UtteranceSettings(no_speech_timeout=3)
    ),
    "quota": say(GARAGE, faults=(USED_UP,)),
    "phone": say(BEDROOM, faults=("drop:after=1.6,connection=1",)),
    "mishears": say(LIGHT, eager=0.4),
    "fallback": say(MUSIC, faults=(USED_UP,), fallback=True),
    "slow": say(BLINDS, faults=("stall:after=1.4,connection=1",)),
    "cut-off": say(LIGHT, GARAGE, hold=1000),
}
# Picture, its height in a window of 900 pixels.
HEIGHTS: Final = {"cut-off": 1400, "slow": 1200, "mishears": 720, "fallback": 1000}


def make_pages(records: Path, pages: Path) -> dict[str, Path]:
    """Play all of it, as if to a Worker and to Deepgram; return the page of each."""
    stems = {name: keep(play, records).stem for name, play in PLAYS.items()}
    for path in records.glob("*.jsonl"):
        text = path.read_text("utf-8").replace(
            '"endpoints":["127.0.0.1","127.0.0.1"]', f'"endpoints":["{WORKER}","api.deepgram.com"]'
        )
        path.write_text(text.replace("127.0.0.1", WORKER), "utf-8")
    if command(["show", str(records), "--output", str(pages)]):
        raise SystemExit("pictures: there are no pages")
    return {name: pages / f"{stem}.html" for name, stem in stems.items()} | {
        "index": pages / "index.html"
    }


async def shot(
    browser: Browser, page: Path, width: int, height: int, *, dark: bool = False
) -> Image.Image:
    """Take a picture of the top of a page."""
    window = await browser.new_page(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    await window.goto(page.as_uri())
    taken = Image.open(io.BytesIO(await window.screenshot())).convert("RGB")
    await window.close()
    return taken


async def main(folder: Path) -> None:
    """Play, show, and take the pictures."""
    with tempfile.TemporaryDirectory(prefix="wyoming-flux-") as temporary:
        work = Path(temporary)
        (work / "records").mkdir()
        pages = await asyncio.to_thread(make_pages, work / "records", work / "pages")
        async with async_playwright() as driver:
            # Of our own pages there is nothing to be kept away from.
            browser = await driver.chromium.launch(
                executable_path=os.environ["CHROMIUM"], args=["--no-sandbox"]
            )
            pictures = {
                name: await shot(browser, pages[name], 900, height)
                for name, height in HEIGHTS.items()
            }
            pictures["index"] = await shot(browser, pages["index"], 1280, 1080)
            phone = Image.new("RGB", (840, 1100), (128, 128, 128))
            for at, name in enumerate(("index", "phone")):
                phone.paste(await shot(browser, pages[name], 400, 1100, dark=True), (440 * at, 0))
            pictures["phone"] = phone
            await browser.close()
    for name, picture in pictures.items():
        path = folder / f"look-{name}.png"
        picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path.name}: {picture.width} x {picture.height}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES))
