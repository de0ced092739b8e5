"""Who is asked, in which order, and who tries again what is down."""

import asyncio
import logging
from dataclasses import dataclass, field

import pytest

from wyoming_flux.errors import EndpointBusy, InvalidSetting, Unreachable
from wyoming_flux.flux import EndpointMemory
from wyoming_flux.flux.order import in_order
from wyoming_flux.flux.watch import watch
from wyoming_flux.settings import FluxSettings

ENGLISH = FluxSettings()
GERMAN = FluxSettings(model="flux-general-multi", language="de")


class Closed:
    async def close(self) -> None:
        pass


@dataclass
class Way:
    """An endpoint that works, or not."""

    name: str
    billed: bool = True
    english: bool = False
    works: bool = True
    asked: int = 0
    learnt: EndpointMemory = field(default_factory=lambda: EndpointMemory(()))

    def check(self, settings: FluxSettings, /) -> None:
        if self.english and settings.language not in (None, "en"):
            raise InvalidSetting("language", "English alone")

    async def connect(self, _settings: FluxSettings) -> Closed:
        self.asked += 1
        if not self.works:
            raise Unreachable("no route")
        return Closed()


def names(ways, settings=ENGLISH, *, now=0.0, minutes=True, watched=False):
    """Return who is asked, in order."""
    ordered = in_order(ways, settings, now=now, minutes=minutes, watched=watched)
    return " ".join(way.name for way in ordered)


def test_the_order_is_kept() -> None:
    """While nothing is known, it is the order that was given."""
    assert names([Way("a"), Way("b"), Way("c")]) == "a b c"


def test_without_minutes_the_free_ones_are_left() -> None:
    """What costs minutes is not asked once there are none."""
    assert names([Way("a"), Way("b", billed=False)], minutes=False) == "b"


def test_a_language_that_one_does_not_know() -> None:
    """It is left out for that utterance alone."""
    ways = [Way("a"), Way("b", english=True)]
    assert names(ways, GERMAN) == "a"
    assert names(ways) == "a b"


def test_what_is_down_comes_last() -> None:
    """For 30 s without a watch; with one until it works, so that no sentence pays."""
    ways = [Way("a"), Way("b"), Way("c")]
    ways[0].learnt.mark_down(0.0)
    assert names(ways, now=29.0) == "b c a"
    assert names(ways, now=31.0) == "a b c"
    assert names(ways, now=31.0, watched=True) == "b c a"
    ways[0].learnt.mark_up()
    assert names(ways, now=31.0, watched=True) == "a b c"


async def test_what_is_down_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """When its time is over, and not before; its return is told once, a failure costs more time."""
    caplog.set_level(logging.INFO)
    way, fine = Way("a", works=False), Way("b")
    now = 0.0
    way.learnt.mark_down(now)
    task = asyncio.create_task(watch([way, fine], ENGLISH, clock=lambda: now, every=0.001))

    async def until(condition) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - it is the watch that is to go round
                await asyncio.sleep(0.001)

    await asyncio.sleep(0.02)
    assert way.asked == 0
    now = 31.0
    await until(lambda: way.asked == 1)
    await until(lambda: way.learnt.down(31.0 + 59.0))
    way.works, now = True, 95.0
    await until(lambda: not way.learnt.suspect)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (way.asked, fine.asked) == (2, 0)
    assert caplog.messages == ["a works again"]


async def test_a_busy_one_is_down_a_little_longer() -> None:
    """Whatever an endpoint raises on purpose does not end the watch."""
    way = Way("a")
    way.learnt.mark_down(-100.0)
    raised = asyncio.Event()

    async def busy(_settings: FluxSettings) -> Closed:
        raised.set()
        raise EndpointBusy("full")

    way.connect = busy  # type: ignore[method-assign]
    task = asyncio.create_task(watch([way], ENGLISH, clock=lambda: 0.0, every=0.001))
    await asyncio.wait_for(raised.wait(), 5)
    await asyncio.sleep(0)
    assert not task.done()
    assert way.learnt.down(1.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_fault_of_ours_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the endpoint is tried again: or it would be asked last for ever."""
    way = Way("a")
    way.learnt.mark_down(-100.0)
    works = way.connect

    async def broken(_settings: FluxSettings) -> Closed:
        way.connect = works  # type: ignore[method-assign]
        raise KeyError("a fault")

    way.connect = broken  # type: ignore[method-assign]
    now = 0.0
    task = asyncio.create_task(watch([way], ENGLISH, clock=lambda: now, every=0.001))
    async with asyncio.timeout(5):
        while way.learnt.suspect and not task.done():
            now += 1.0
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not way.learnt.suspect
    assert [one.exc_info is not None for one in caplog.records if one.levelname == "ERROR"] == [
        True
    ]


def test_what_is_down_is_told_once() -> None:
    """The first failure and the return are news; the reason stays until then."""
    learnt = EndpointMemory(())
    assert learnt.mark_down(0.0, "refused")
    assert not learnt.mark_down(1.0, "refused again")
    assert learnt.down_because == "refused again"
    assert learnt.mark_up()
    assert not learnt.mark_up()
    assert learnt.down_because is None
