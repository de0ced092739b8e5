"""What the machine promises for any audio, network, Flux and clock.

Nothing is cut; it always ends; neither chunks nor a late process change what it says.
"""

from dataclasses import replace
from typing import Any

from hypothesis import event, example, given
from hypothesis import strategies as st

from tests.support.paper_flux import RATE, Nature, say, silence, word
from tests.support.world import World, paced, stalled
from wyoming_flux.errors import ConnectionLost, FluxTimeout, Refused, Unreachable
from wyoming_flux.flux.learnt import Facts
from wyoming_flux.flux.messages import (
    CLOSE_STREAM,
    FORCE_END_TURN,
    NO_ACTIVE_TURN,
    Connected,
    FluxFault,
    FluxWarning,
    Garbage,
    TurnEvent,
    TurnInfo,
)
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance import rules
from wyoming_flux.utterance.events import Answer, Connect, Partial
from wyoming_flux.utterance.machine import Machine
from wyoming_flux.utterance.outcome import Trigger

DICTATION = UtteranceSettings(answer_on="audio-stop")
ASSISTANT = UtteranceSettings()


def spoken(turns: list[int], pauses: list[float]) -> tuple[bytes, str]:
    """Return audio of turns of so many words, pauses between them, and its text."""
    audio, text, first = silence(0.4), [], 0
    for number, count in enumerate(turns):
        audio += say(range(first, first + count)) + silence(pauses[number % len(pauses)])
        text += [word(one) for one in range(first, first + count)]
        first += count
    return audio, " ".join(text)


lags = st.sampled_from([0.0, 0.0, 0.2, 0.5, 0.8, 1.5])
latencies = st.sampled_from([0.0, 0.02, 0.1, 0.3])
healthy = st.builds(
    Nature,
    opens_after=st.sampled_from([0.0, 0.05, 0.4, 1.5, 3.5]),
    ingest=st.sampled_from([1.25, 1.25, 50.0]),
    latency=latencies,
    lag=lags,
    word_times=st.booleans(),
    controls=st.sampled_from(["error", "flush", "unflushed", "1011"]),
    empty_ends=st.booleans(),
)
# Faults that all together stay within the budget of eight seconds.
quick = healthy.map(lambda nature: replace(nature, opens_after=min(nature.opens_after, 0.4)))
faults = st.one_of(
    st.builds(lambda n, at: replace(n, drops_at=at), quick, st.floats(0.05, 12.0)),
    st.builds(lambda n, at: replace(n, falls_silent_at=at), quick, st.floats(0.3, 12.0)),
    st.builds(lambda n: replace(n, refuses=True), quick),
)
broken = st.lists(faults, max_size=2).filter(
    lambda some: sum(one.falls_silent_at is not None for one in some) < 2
)
clients: Any = st.fixed_dictionaries(
    {
        "turns": st.lists(st.integers(1, 7), min_size=1, max_size=5),
        "pauses": st.lists(st.sampled_from([0.45, 0.6, 1.2]), min_size=1, max_size=3),
        "chunk": st.sampled_from([0.01, 0.02, 0.0805, 0.3, 1.0, 2.0, 4.0]),
        "stall": st.tuples(st.floats(0.0, 12.0), st.sampled_from([0.0, 0.0, 1.4, 2.6])),
    }
)


def coming(client: Any, audio: bytes) -> list[tuple[float, bytes]]:
    """Return what arrives when: in real time, and held back by a stall of less than 3 s."""
    chunk = client["chunk"]
    return stalled(paced(audio, chunk), [client["stall"]] if chunk < 1.0 else [])


sleeps = st.lists(
    st.tuples(st.floats(0.0, 15.0), st.sampled_from([0.5, 3.2, 5.2, 9.0])), max_size=1
)


# Four seconds of nothing to hear are no fault: the second stream has all of its time.
@example(
    client={"turns": [1, 1, 2], "pauses": [1.2], "chunk": 4.0, "stall": (0.0, 0.0)},
    broken=[Nature(opens_after=0.0, lag=0.2, latency=0.0, falls_silent_at=0.5)],
    good=Nature(opens_after=0.0, latency=0.0),
    asleep=[],
)
@given(client=clients, broken=broken, good=quick, asleep=sleeps)
def test_every_word_once(
    client: Any, broken: list[Nature], good: Nature, asleep: list[tuple[float, float]]
) -> None:
    """All that a client says until it stops is in the text, once and in order."""
    audio, text = spoken(client["turns"], client["pauses"])
    chunks = coming(client, audio)
    world = World(chunks, chunks[-1][0] + 0.01, [*broken, good], settings=DICTATION, sleeps=asleep)
    answer = world.play()
    assert answer.error is None, answer
    assert answer.text == text
    assert answer.missing == 0
    assert answer.trigger is Trigger.AUDIO_STOP
    assert not world.controls, "nothing was proven"
    event(f"connections: {world.connects}")


@given(client=clients, broken=broken, good=quick, asleep=sleeps)
def test_an_assistant_gets_the_first_turn_whole(
    client: Any, broken: list[Nature], good: Nature, asleep: list[tuple[float, float]]
) -> None:
    """While the client streams on, the answer is the first turn: all of it, and nothing else."""
    audio, text = spoken(client["turns"][:1], [25.0])
    chunks = coming(client, audio)
    world = World(chunks, None, [*broken, good], settings=ASSISTANT, sleeps=asleep)
    answer = world.play()
    assert answer.text == text, answer
    assert answer.error is None
    assert answer.trigger in (Trigger.END_OF_TURN, Trigger.CONNECTION_LOST, Trigger.NO_AUDIO)


@given(
    client=clients,
    windows=st.sampled_from(["none", "creep"]),
    good=healthy,
    asleep=sleeps,
    early=st.booleans(),
)
def test_windows_that_cannot_be_used(
    client: Any, windows: str, good: Nature, asleep: list[tuple[float, float]], *, early: bool
) -> None:
    """Without window ends every word is there once as well, in both answer modes."""
    count = 1 if early else None
    audio, text = spoken(client["turns"][:count], [25.0] if early else client["pauses"])
    chunks = paced(audio, min(client["chunk"], 1.0))
    nature = replace(good, windows=windows, opens_after=min(good.opens_after, 0.4))
    world = World(
        chunks,
        None if early else chunks[-1][0] + 0.01,
        [nature],
        settings=ASSISTANT if early else DICTATION,
        sleeps=asleep,
    )
    answer = world.play()
    assert answer.text == text
    assert answer.error is None


@given(client=clients, broken=st.lists(faults, max_size=4), good=healthy)
def test_what_is_missing_is_said(client: Any, broken: list[Nature], good: Nature) -> None:
    """With any faults: an answer in which nothing is missing has every word."""
    audio, text = spoken(client["turns"], client["pauses"])
    chunks = paced(audio, 0.08)
    answer = World(chunks, chunks[-1][0], [*broken, good], settings=DICTATION).play()
    if answer.error is None and not answer.missing:
        assert answer.text == text
    else:
        assert answer.missing > 0
        assert text.startswith(answer.text)


@given(words=st.integers(20, 95), left=st.sampled_from([-0.3, -0.1, 0.1, 1.0, 2.0]), good=quick)
def test_a_long_turn_that_is_lost_at_its_end(words: int, left: float, good: Nature) -> None:
    """A sentence of up to 30 s without a pause, lost as the client ends: heard again whole."""
    audio, text = spoken([words], [0.2])
    seconds = len(audio) / 2 / RATE
    chunks = paced(audio)
    natures = [replace(good, drops_at=seconds - left), good]
    world = World(chunks, chunks[-1][0] + 0.01, natures, settings=DICTATION)
    answer = world.play()
    assert (answer.text, answer.error, answer.missing) == (text, None, 0)
    assert world.answered_at <= seconds + seconds / rules.INGEST + 5.0


@given(
    client=clients,
    broken=st.lists(faults, min_size=1, max_size=5),
    asleep=sleeps,
)
def test_an_error_is_not_late(
    client: Any, broken: list[Nature], asleep: list[tuple[float, float]]
) -> None:
    """However an endpoint fails, time and again: what stands still costs 9.5 s in five seconds."""
    audio, text = spoken(client["turns"][:2], client["pauses"])
    chunks = coming(client, audio)
    world = World(chunks, chunks[-1][0] + 0.01, broken, settings=DICTATION, sleeps=asleep)
    answer = world.play()
    assert answer.text == text if answer.error is None else answer.missing
    seconds = len(audio) / 2 / RATE
    standing = (1 + seconds // rules.FRESH) * (rules.BUDGET + rules.OPENED_GETS)
    # A client may be late; three streams hear what was said before they are lost; then silence.
    hearing = chunks[-1][0] + 4 * seconds / rules.INGEST + 2.5
    assert world.answered_at <= hearing + standing + sum(lasts for _, lasts in asleep)


@given(client=clients, nature=healthy, asleep=sleeps, other=st.sampled_from([0.01, 0.16, 0.5]))
def test_neither_chunks_nor_a_late_process_change_the_answer(
    client: Any, nature: Nature, asleep: list[tuple[float, float]], other: float
) -> None:
    """The same audio in other chunks, to a process that stood still: the same text and trigger."""
    audio, _ = spoken(client["turns"], client["pauses"])
    audio += silence(4.0)
    for settings in (ASSISTANT, DICTATION):
        end = None if settings is ASSISTANT else len(audio) / 2 / RATE + 0.5
        answers = [
            World(paced(audio, chunk), end, [nature], settings=settings, sleeps=late).play()
            for chunk, late in ((0.02, ()), (other, asleep))
        ]
        assert answers[0].text == answers[1].text
        assert answers[0].trigger == answers[1].trigger


@given(client=clients, nature=healthy)
def test_partial_text_only_grows_into_the_answer(client: Any, nature: Nature) -> None:
    """Without revisions, what was shown piece by piece is the answer."""
    audio, text = spoken(client["turns"], client["pauses"])
    chunks = paced(audio)
    world = World(chunks, chunks[-1][0], [nature], settings=DICTATION)
    assert world.play().text == text
    assert "".join(world.partials) == text


@given(client=clients, proven=st.sampled_from([CLOSE_STREAM]), nature=healthy)
def test_a_proven_control_brings_the_same_text(client: Any, proven: str, nature: Nature) -> None:
    """A control is sent once where it is proven; where it stopped working nothing is lost."""
    audio, text = spoken(client["turns"], client["pauses"])
    chunks = paced(audio)
    natures = [nature, replace(nature, controls="flush")]
    facts = Facts(control=proven)
    world = World(chunks, chunks[-1][0] + 0.01, natures, settings=DICTATION, facts=facts)
    answer = world.play()
    assert answer.text == text
    assert answer.error is None
    assert len(world.controls) <= world.connects


# --- any input at all ----------------------------------------------------------------------------

texts = st.sampled_from(["", "Turn", "turn on", "Turn on the light.", "okay nabu", "ok nabu turn"])
infos = st.builds(
    TurnInfo,
    event=st.sampled_from(TurnEvent),
    turn_index=st.sampled_from([0, 0, 0, 1, 2, 99]),
    audio_window_end=st.one_of(st.none(), st.floats(0, 40)),
    transcript=texts,
    first_word_start=st.one_of(st.none(), st.floats(0, 40)),
)
messages = st.one_of(
    infos,
    infos,
    st.builds(Connected),
    st.builds(FluxWarning, st.sampled_from([NO_ACTIVE_TURN, "X"])),
    st.builds(FluxFault, st.just("X")),
    st.builds(Garbage),
)
errors = st.sampled_from(
    [
        Unreachable("x"),
        Refused("x"),
        FluxTimeout("x"),
        ConnectionLost("x", close_code=1005),
        ConnectionLost("x", close_code=1011),
    ]
)
steps = st.lists(
    st.tuples(
        st.floats(0.0, 3.0),
        st.one_of(
            st.tuples(st.just("feed"), st.integers(0, 3 * RATE)),
            st.tuples(st.just("end"), st.none()),
            st.tuples(st.just("limit"), st.floats(0.0, 3.0)),
            st.tuples(st.just("opened"), st.integers(0, 2)),
            st.tuples(st.just("failed"), errors),
            st.tuples(st.just("lost"), errors),
            st.tuples(st.just("receive"), messages),
            st.tuples(st.just("receive"), messages),
            st.tuples(st.just("old"), messages),
        ),
    ),
    max_size=60,
)
settings = st.builds(
    UtteranceSettings,
    answer_on=st.sampled_from(["end-of-turn", "audio-stop"]),
    hold=st.sampled_from([0, 500, 2000]),
    max_turn=st.sampled_from([1.0, 20.0]),
    no_speech_timeout=st.sampled_from([1.0, 8.0]),
)
facts = st.sampled_from(
    [
        Facts(),
        Facts(control=CLOSE_STREAM),
        Facts(control=FORCE_END_TURN),
        Facts(candidate=CLOSE_STREAM),
        Facts(windows=False),
        Facts(partial=False),
    ]
)


class Driver:
    """Gives a machine any inputs, as a process would that also sends what is to be sent."""

    def __init__(self, chosen: UtteranceSettings, known: Facts, endpoints: int) -> None:
        names = [f"flux-{number}" for number in range(endpoints)]
        self.machine = Machine(chosen, FluxSettings(sample_rate=RATE), names, 0.0)
        self.known = known
        self.now = 0.0
        self.trying: list[int] = []
        self.attempts = 0
        self.answers: list[Answer] = []
        self.shown = ""
        self.take()

    def take(self) -> None:
        for one in self.machine.events():
            assert not self.answers or not isinstance(one, Answer | Partial)
            match one:
                case Connect(attempt):
                    self.trying.append(attempt)
                    self.attempts += 1
                case Answer():
                    self.answers.append(one)
                case Partial(text):
                    self.shown += text
                case _:
                    pass
        for _ in range(2000):
            frame = self.machine.next_to_send(self.attempts)
            if frame is None:
                return
            assert frame
            assert isinstance(frame, str) or len(frame) % 2 == 0
        raise AssertionError("sends without end")

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.machine.deadline) is not None and due <= until:
            self.now = max(due, self.now)
            self.machine.tick(self.now)
            self.take()
        self.now = max(self.now, until)

    def do(self, kind: str, value: Any) -> None:
        machine = self.machine
        match kind:
            case "feed":
                machine.feed(bytes(value), self.now)
            case "end":
                machine.end(self.now)
            case "limit":
                machine.limit(value, Trigger.DAILY_LIMIT, self.now)
            case "opened":
                if self.trying:
                    machine.opened(self.trying.pop(), self.known, self.now)
            case "failed":
                if self.trying:
                    machine.failed(self.trying.pop(0), value, self.now)
            case "lost":
                machine.lost(self.attempts, value, self.now)
            case "receive":
                machine.receive(self.attempts, value, self.now)
            case "old":
                machine.receive(self.attempts - 1, value, self.now)
        self.take()


@given(script=steps, chosen=settings, known=facts, endpoints=st.integers(1, 3))
def test_it_always_ends(
    script: list[Any], chosen: UtteranceSettings, known: Facts, endpoints: int
) -> None:
    """Whatever comes at whatever time: one answer, and when nothing comes any more, soon."""
    driver = Driver(chosen, known, endpoints)
    for pause, (kind, value) in script:
        driver.wait(pause)
        driver.do(kind, value)
    driver.wait(60.0)
    assert len(driver.answers) == 1, driver.machine.state
    answer = driver.answers[0]
    limited = answer.trigger is Trigger.DAILY_LIMIT
    assert answer.text or answer.error is not None or not answer.missing or limited
    assert driver.machine.deadline is None
    assert driver.machine.room


@given(script=steps, window=st.floats(0.0, 0.02), talk=st.booleans(), ends=st.booleans())
def test_it_ends_while_flux_talks_on(
    script: list[Any], window: float, *, talk: bool, ends: bool
) -> None:
    """Flux talks for ever, and hears next to nothing: there is an answer all the same."""
    driver = Driver(ASSISTANT, Facts(), 1)
    for pause, (kind, value) in script[:5]:
        driver.wait(pause)
        driver.do(kind, value)
    driver.do("opened", 0)
    if ends:
        driver.do("feed", RATE)
        driver.do("end", None)
    heard = 0.0
    for _ in range(600):
        driver.wait(0.25)
        if not ends:
            driver.do("feed", RATE // 2)
        driver.do("opened", 0)
        heard += window
        said = TurnInfo(TurnEvent.UPDATE, 0, heard, "Turn on" if talk else "")
        driver.do("receive", said)
        if driver.answers:
            break
    assert driver.answers
    limit = ASSISTANT.max_turn + rules.TWIN_MAX_TURN + 2 * rules.BUDGET + rules.END_BY[1]
    assert driver.now <= limit + 15.0 + 20.0
