"""The probe against simulators: each answer comes out as the simulator was told to behave."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from wyoming_flux.flux import Endpoint, Route
from wyoming_flux.flux.probe import (
    MOST_SECONDS,
    Findings,
    Step,
    cost,
    find,
    make_plan,
    probe,
    profile_of,
    summary_of,
)
from wyoming_flux.flux.probe.plan import CLIPS, NAME
from wyoming_flux.flux.probe.run import _clips
from wyoming_flux.settings import FluxSettings
from wyoming_flux.simulator import Simulator, profiles, script
from wyoming_flux.simulator.faults import parse
from wyoming_flux.simulator.profiles import Profile

TOKEN = "a-secret-of-nobody"
PLAN = make_plan(FluxSettings())
WITHOUT_IDLE = tuple(step for step in PLAN if step.name != "idle")


SCRIPT = script.parse(f"""
[[turn]]
text = "close the {NAME.lower()} door"
confidence = 0.85

[misheard]
{NAME} = "garage"
""")
"""Hears the odd name where it is a key term, and is sure of an end up to 0.85."""


async def probed(
    profile: Profile, *faults: str, steps: Sequence[Step] = WITHOUT_IDLE
) -> list[dict[str, Any]]:
    """Return the records of these steps; side by side, since only the endpoint's bill minds."""
    async with Simulator(
        profile=profile,
        faults=[parse(one) for one in faults],
        script=SCRIPT.turns,
        misheard=SCRIPT.misheard,
        token=TOKEN,
    ) as simulator:
        endpoint = Endpoint.from_url(simulator.url, route=profile.base, token=TOKEN)
        records: list[list[dict[str, Any]]] = [[] for _ in steps]
        # Some at once: more of them are late on a busy machine, and lateness is what is measured.
        turns = asyncio.Semaphore(8)

        async def one(number: int) -> None:
            async with turns:
                await probe(endpoint, (steps[number],), records[number].append)

        await asyncio.gather(*(one(number) for number in range(len(steps))))
    return [record for of_step in records for record in of_step]


def told(records: list[dict[str, Any]]) -> tuple[Findings, Profile]:
    """Return the findings, and the profile as the simulator reads it."""
    found = find(records)
    return found, profiles.parse(json.dumps(profile_of(found)))


SAME = (
    "base controls unknown_control flush close_code typed binary trigger word_times windows"
    " window_lag eot_threshold_limit ignored upgrade_delay"
).split()

ODD = """{"base": "workers-ai", "controls": ["CloseStream"], "unknown_control": "close",
 "flush": false, "close_code": 1006, "typed": false, "window_lag": 0.4, "ignored": ["keyterm"],
 "refused": {"eot_timeout_ms": {"status": 200, "body": "{}"}}, "upgrade_delay": 0.3,
 "end_of_turn_ms": 600}"""
MUTE = """{"base": "deepgram", "controls": ["ForceEndTurn"], "unknown_control": "ignore",
 "windows": "missing", "binary": true, "trigger": false, "word_times": false,
 "ignored": ["eot_timeout_ms"]}"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        '{"base": "workers-ai"}',
        '{"base": "deepgram"}',
        ODD,
        MUTE,
        '{"base": "workers-ai", "windows": "creeping", "controls": ["Configure"]}',
    ],
    ids=["workers-ai", "deepgram", "odd", "mute", "creeping"],
)
async def test_a_profile_comes_out_as_it_went_in(text: str) -> None:
    """What the simulator was told to be is what the probe says of it, as a profile again."""
    asked = profiles.parse(text)
    found, got = told(await probed(asked))
    # Without CloseStream nothing can be seen of how it is obeyed.
    unseen = set() if "CloseStream" in asked.controls else {"flush", "close_code"}
    for name in [one for one in SAME if one not in unseen]:
        assert getattr(got, name) == pytest.approx(getattr(asked, name), abs=0.1), name
    assert abs(got.end_of_turn_ms - asked.end_of_turn_ms) <= (
        100 if asked.windows == "true" else 300
    )
    assert set(got.refused) == set(asked.refused)
    assert found.name_helps is ("keyterm" not in asked.ignored)
    if asked.base == "workers-ai" and "eot_timeout_ms" not in asked.refused:
        assert found.timeout_honoured is True
    if "eot_timeout_ms" in asked.ignored:
        assert found.oddities == ["the turn did not end (timeout)"]
    else:
        assert not found.oddities
    assert found.sent < cost(WITHOUT_IDLE, Route(asked.base))[0] * 60
    assert f"{Route(asked.base).billed_by}'s bill" in summary_of(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "oddity"),
    [
        ("end:kind=empty", "without the text"),
        ("end:kind=twice", "told twice"),
        ("garbage:kind=text", "no JSON object"),
        ("error:after=1", "an Error"),
        ("drop:after=1,code=1011", "closed in the middle (first: 1011)"),
        ("stall:after=1.2", "did not end"),
        ("slow-reader:rate=0", "nothing was heard"),
    ],
)
async def test_what_is_out_of_the_ordinary_is_told(fault: str, oddity: str) -> None:
    """Each fault of the middle of a stream has its line, and none makes the probe fail."""
    found = find(await probed(profiles.WORKERS_AI, fault, steps=PLAN[:1]))
    assert oddity in " ".join(found.oddities)
    assert oddity in summary_of(found)


@pytest.mark.slow
@pytest.mark.parametrize("closes", [True, False])
async def test_a_stream_without_audio(closes: bool) -> None:
    """When it is closed, or that it still hears, is told: it decides if it could be kept warm."""
    (idle,) = (step for step in PLAN if step.name == "idle")
    profile = profiles.parse(
        json.dumps({"base": "workers-ai", "idle_timeout": 2.0 if closes else None})
    )
    found, got = told(await probed(profile, steps=(PLAN[0], idle)))
    assert found.idle_heard is not closes
    assert got.idle_timeout == (pytest.approx(2.0, abs=0.3) if closes else None)
    assert ("closed with 1006 after 2." if closes else "hears what follows") in summary_of(found)


async def test_no_secret_gets_into_a_record() -> None:
    """Not the token, not the host, not an account's id, though the other side repeats them."""
    account = "0123456789abcdef0123456789abcdef"
    body = json.dumps({"errors": [{"code": 1000, "message": f"{TOKEN} of {account} at 127.0.0.1"}]})
    records = await probed(profiles.WORKERS_AI, f"refuse:status=403,body={body}", steps=PLAN[:1])
    said = json.dumps(records)
    assert " of *** at ***" in said
    for secret in (TOKEN, account, "127.0.0.1"):
        assert secret not in said
    assert "No stream was opened" in summary_of(find(records))
    with pytest.raises(ValueError, match="no stream"):
        profile_of(find(records))


@pytest.mark.parametrize(
    ("fault", "taken", "said"),
    [
        ("refuse:status=503", None, "was refused with 503: `"),
        ("refuse:status=429,code=3036", None, "was refused with 429: `"),
        ("refuse:status=500,code=5030", False, "was refused with 500: `"),
    ],
)
async def test_only_a_refusal_for_parameters_says_something_of_them(
    fault: str, taken: bool | None, said: str
) -> None:
    """An endpoint that is overloaded, or used up, just then has not refused the parameter."""
    refused = [parse(f"{fault},connection={number}") for number in (2, 3)]
    records: list[dict[str, Any]] = []
    async with Simulator(faults=refused) as simulator:
        endpoint = Endpoint.from_url(simulator.url, route="workers-ai")
        await probe(endpoint, PLAN[2:4], records.append)
    found = find(records)
    assert found.taken == {"eot_timeout_ms": True, "eager_eot_threshold": taken}
    assert said in summary_of(found)
    assert ("eager_eot_threshold" in profile_of(found)["refused"]) is (taken is False)


async def test_no_more_audio_than_allowed() -> None:
    """Streams for which the audio is not enough are left out, and that is on record."""
    records: list[dict[str, Any]] = []
    async with Simulator() as simulator:
        endpoint = Endpoint.from_url(simulator.url, route="workers-ai")
        sent = await probe(endpoint, PLAN[1:4], records.append, most_seconds=1.0)
    assert sent <= 1.0
    assert records[-1]["event"] == "left out"


def test_the_plan_is_affordable() -> None:
    """Under two minutes of audio, whatever the endpoint does."""
    assert sum(step.most_seconds * len(step.asked) for step in PLAN) < MOST_SECONDS
    minutes, dollars = cost(PLAN, Route.WORKER)
    assert 1.0 < minutes < 2.0
    assert dollars == pytest.approx(minutes * 0.0077)
    assert cost(PLAN, Route.DEEPGRAM)[1] == pytest.approx(minutes * 0.0078)


def test_the_clips_are_as_long_as_the_plan_says() -> None:
    """The end of the last word is where the measurements take it to be."""
    assert {name: len(pcm) / 32000 for name, pcm in _clips().items()} == pytest.approx(CLIPS)


def test_nothing_comes_of_nothing(tmp_path: Path) -> None:
    """A run that was broken off at once has findings, too."""
    assert find([]).streams == 0
    assert "none was tried" in summary_of(Findings())
