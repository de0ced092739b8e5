"""A record is what went in and what was decided: enough to replay it, and no danger to anybody."""

import asyncio
import contextlib
import dataclasses
import json
import resource
import stat
import threading
import wave
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.support.paper_flux import Nature, say, silence
from tests.support.world import World, paced
from wyoming_flux.errors import ConnectionLost
from wyoming_flux.flux import Connector, Endpoint
from wyoming_flux.flux.learnt import Facts
from wyoming_flux.flux.messages import TurnEvent, TurnInfo
from wyoming_flux.settings import FluxSettings, UtteranceSettings
from wyoming_flux.utterance import Capture, Transcriber
from wyoming_flux.utterance.events import Connect
from wyoming_flux.utterance.outcome import Trigger
from wyoming_flux.utterance.record import InvalidRecord, read
from wyoming_flux.utterance.recorder import Recorder
from wyoming_flux.utterance.replay import differences, outcome

Virtual = Callable[[Callable[[], Awaitable[Any]]], Any]
TEXT = "turn on the living room light"


class Memory:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.text = ""
        self.pcm = b""
        self.finished = False

    def write(self, lines: str, pcm: Sequence[bytes], *, last: bool) -> bool:
        self.text += lines
        self.pcm += b"".join(pcm)
        self.finished = last
        return True


natures = st.builds(
    Nature,
    opens_after=st.sampled_from([0.0, 0.05, 1.7]),
    latency=st.sampled_from([0.0, 0.0213, 0.3]),
    lag=st.sampled_from([0.0, 0.5]),
    windows=st.sampled_from(["true", "true", "none"]),
    word_times=st.booleans(),
    drops_at=st.sampled_from([None, 0.7, 2.13]),
    refuses=st.booleans(),
)


@given(
    broken=st.lists(natures, max_size=3),
    settings=st.sampled_from(
        [
            UtteranceSettings(),
            UtteranceSettings(hold=700),
            UtteranceSettings(answer_on="audio-stop"),
            UtteranceSettings(no_speech_timeout=1.0, max_turn=1.0),
        ]
    ),
    chunk=st.sampled_from([0.01, 0.0805, 1.0]),
    endpoints=st.integers(1, 2),
    start=st.sampled_from([0.0, 1234.56789]),
)
def test_record_replays_to_the_same_decisions(
    broken: list[Nature],
    settings: UtteranceSettings,
    chunk: float,
    endpoints: int,
    start: float,
) -> None:
    """Whatever happened: the machine decides the same over what was written down, at each time."""
    audio = silence(0.4) + say(range(3)) + silence(0.6) + say(range(3, 6)) + silence(2.0)
    sink = Memory()
    world = World(
        paced(audio, chunk, start=start),
        start + len(audio) / 16000 + 0.5,
        [*broken, Nature()],
        settings=settings,
        fallbacks=[(Nature(),)] * (endpoints - 1),
        make=partial(Recorder, sink=sink, about={}),
    )
    answer = world.play()
    world.machine.close(world.now)
    record = read(sink.text)
    assert sink.finished
    assert not differences(record)
    replayed = outcome(record).answer
    assert replayed is not None
    assert (replayed.text, replayed.trigger) == (answer.text, answer.trigger)
    assert audio.startswith(sink.pcm)
    assert record.utterance == settings


def recorded(settings: UtteranceSettings | None = None, *natures: Nature) -> str:
    """Return the record of two turns with a pause."""
    audio = silence(0.4) + say(range(3)) + silence(0.6) + say(range(3, 6)) + silence(2.0)
    sink = Memory()
    world = World(
        paced(audio),
        len(audio) / 16000 + 0.5,
        natures or [Nature()],
        settings=settings or UtteranceSettings(),
        make=partial(Recorder, sink=sink, about={}),
    )
    world.play()
    world.machine.close(world.now)
    return sink.text


def test_another_decision_is_told() -> None:
    """A machine that decides otherwise than the record says does not go unnoticed."""
    lines = recorded(UtteranceSettings(hold=900)).splitlines()
    header = json.loads(lines[0])
    header["utterance"]["hold"] = 0
    found = differences(read("\n".join([json.dumps(header), *lines[1:]])))
    assert found
    assert found[0].recorded is not None
    assert found[0].recorded["state"] == "HOLDING"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_can_be_read_again(said: str) -> None:
    """Words with any character in them, such as one that some take for the end of a line."""
    sink = Memory()
    recorder = Recorder(UtteranceSettings(), FluxSettings(), [said], 0.0, sink=sink, about={})
    recorder.opened(1, Facts(), 0.1)
    recorder.feed(bytes(32000), 0.2)
    recorder.receive(1, TurnInfo(TurnEvent.END_OF_TURN, 0, 1.0, f"on {said}"), 0.3)
    recorder.events()
    recorder.close(0.4)
    record = read(sink.text)
    assert record.endpoints == (said,)
    answer = outcome(record).answer
    assert answer is not None
    assert answer.text.split() == f"on {said}".split()


@pytest.mark.parametrize("version", [1, 2, 4])
def test_other_versions_are_refused(version: int) -> None:
    """A record of another format is not read wrongly, and its owner is told what to do."""
    text = recorded().replace('"record":3,', f'"record":{version},"version":"0.0.7",', 1)
    with pytest.raises(InvalidRecord, match=f"version {version} .* use the wyoming-flux 0.0.7"):
        read(text)


class Driven(RuleBasedStateMachine):
    """Inputs, and frames that a slow network takes late, in any order: recorded and replayed."""

    def __init__(self) -> None:
        super().__init__()
        self.sink = Memory()
        self.now = 77.7
        self.fed = b""
        self.frames: list[bytes | str] = []
        self.heard = 0.0
        self.machine = Recorder(
            UtteranceSettings(hold=300), FluxSettings(), ["a"], self.now, sink=self.sink, about={}
        )
        self.opened = 0
        self.obey()

    @rule(seconds=st.floats(0.0, 0.3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(size=st.sampled_from([2, 321, 640, 20_000]))
    def feed(self, size: int) -> None:
        pcm = bytes([len(self.fed) % 251]) * size
        if not self.machine.answered:
            self.fed += pcm
        self.machine.feed(pcm, self.now)
        self.obey()

    @rule()
    def tick(self) -> None:
        self.machine.tick(self.now)
        self.obey()

    @rule(seconds=st.sampled_from([0.0, 0.1]), trigger=st.sampled_from(["daily-limit"]))
    def limit(self, seconds: float, trigger: str) -> None:
        self.machine.limit(seconds, Trigger(trigger), self.now)
        self.obey()

    @rule()
    def end(self) -> None:
        self.machine.end(self.now)
        self.obey()

    @rule(text=st.sampled_from(["", "on", 'on "},{"t":']), event=st.sampled_from(TurnEvent))
    def hear(self, text: str, event: TurnEvent) -> None:
        self.heard += 0.25
        info = TurnInfo(event, 0, self.heard, text)
        self.machine.receive(self.opened, info, self.now)
        self.obey()

    @rule()
    def lose(self) -> None:
        self.machine.lost(self.opened, ConnectionLost("gone"), self.now)
        self.obey()

    @rule(most=st.integers(1, 4))
    def send(self, most: int) -> None:
        for _ in range(most):
            frame = self.machine.next_to_send(self.opened)
            if frame is not None:
                self.frames.append(frame)

    def obey(self) -> None:
        for event in self.machine.events():
            if isinstance(event, Connect):
                self.opened, self.heard = event.attempt, 0.0
                self.machine.opened(event.attempt, Facts(), self.now)
                self.obey()

    def teardown(self) -> None:
        self.machine.close(self.now)
        record = read(self.sink.text)
        assert not differences(record)
        assert self.sink.pcm == self.fed
        assert len(self.frames) == sum(line["in"] == "next" for line in record.inputs)


TestDriven = Driven.TestCase


LINE = recorded().splitlines()


@given(
    number=st.integers(0, len(LINE) - 1),
    field=st.sampled_from(
        ["t", "in", "message", "attempt", "bytes", "steps", "frames", "record", "flux"]
    ),
    value=st.one_of(st.none(), st.integers(), st.text(), st.lists(st.none()), st.floats()),
)
def test_damaged_records_are_refused_in_one_sentence(number: int, field: str, value: Any) -> None:
    """Whatever is wrong in a line, reading and replaying end with InvalidRecord or a result."""
    lines = list(LINE)
    lines[number] = json.dumps({**json.loads(lines[number]), field: value})
    with contextlib.suppress(InvalidRecord):
        differences(read("\n".join(lines)))


@given(text=st.text())
def test_anything_else_is_no_record(text: str) -> None:
    """Text of any kind is told to be no record."""
    with pytest.raises(InvalidRecord):
        read(text)


async def utter(connector: Any, audio: bytes, capture: Capture | None) -> str:
    """Say something in real time, and return the text."""
    async with Transcriber(
        [connector], FluxSettings(), UtteranceSettings(), capture=capture
    ) as transcriber:

        async def stream() -> None:
            for at in range(0, len(audio), 640):
                await transcriber.send(audio[at : at + 640])
                await asyncio.sleep(0.02)

        streaming = asyncio.create_task(stream())
        try:
            return (await transcriber.result()).text
        finally:
            streaming.cancel()
            await asyncio.wait([streaming])


def kept(folder: Path) -> list[Path]:
    """Return the records of a folder, the oldest first."""
    return sorted(folder.glob("*.jsonl"))


@pytest.mark.parametrize("audio", [True, False])
def test_capture_keeps_audio_and_record(
    run_virtual: Virtual, memory_connector: Any, spoken: Any, tmp_path: Path, *, audio: bool
) -> None:
    """One WAV and one record for each utterance, for their owner's eyes alone."""
    folder, said = tmp_path / "new" / "folder", spoken(0.3, 2.0, 3.0)
    capture = Capture(folder, audio=audio)
    text = run_virtual(lambda: utter(memory_connector(), said, capture))
    capture.close()
    assert text == TEXT
    (path,) = kept(folder)
    record = read(path.read_text("utf-8"))
    assert not differences(record)
    assert [stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()] == [0o600] * (1 + audio)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    if not audio:
        assert record.header["audio"] is None
        return
    with wave.open(str(folder / record.header["audio"])) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, 16000)
        pcm = wav.readframes(wav.getnframes())
    assert len(pcm) > 2.3 * 32000
    assert said.startswith(pcm)


def test_a_client_that_leaves_is_kept(
    run_virtual: Virtual, memory_connector: Any, spoken: Any, tmp_path: Path
) -> None:
    """What was said until then is there, and how far it had come; there is no answer in it."""
    capture, said = Capture(tmp_path), spoken(0.3, 1.0, 0.0)

    async def leave() -> None:
        async with Transcriber(
            [memory_connector()], FluxSettings(), UtteranceSettings(), capture=capture
        ) as transcriber:
            for at in range(0, len(said), 640):
                await transcriber.send(said[at : at + 640])
                await asyncio.sleep(0.02)

    run_virtual(leave)
    capture.close()
    (path,) = kept(tmp_path)
    record = read(path.read_text("utf-8"))
    assert not differences(record)
    decided = [line["out"] for line in record.outputs]
    assert "partial" in decided
    assert "answer" not in decided
    with wave.open(str(path.with_suffix(".wav"))) as wav:
        assert wav.readframes(wav.getnframes()) == said


def test_record_holds_neither_token_nor_path(
    run_virtual: Virtual, memory_connector: Any, spoken: Any, tmp_path: Path
) -> None:
    """What may be attached to an issue names hosts, and nothing that lets anybody in."""
    capture = Capture(tmp_path)
    connector = memory_connector()
    endpoint = Endpoint.from_url("wss://x.workers.dev/some/secret/path", token="t0psecret")
    connector.endpoint = endpoint
    assert Connector(endpoint).name == "x.workers.dev"
    run_virtual(lambda: utter(connector, spoken(0.3, 1.0, 3.0), capture))
    capture.close()
    (path,) = kept(tmp_path)
    text = path.read_text("utf-8")
    assert read(text).endpoints == (connector.name,)
    assert "secret" not in text


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file grows beyond 20 kB: the kernel refuses as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_touches_no_utterance(
    run_virtual: Virtual,
    memory_connector: Any,
    spoken: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two utterances are answered, one warning says why neither was kept, and nothing is left."""
    folder = tmp_path / "kept"
    folder.mkdir()
    assert not_kept(run_virtual, memory_connector, spoken(0.3, 2.0, 3.0), folder, caplog)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("place", ["a file", "a file/folder", "/proc/self"])
def test_a_folder_that_takes_nothing_touches_no_utterance(
    run_virtual: Virtual,
    memory_connector: Any,
    spoken: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    place: str,
) -> None:
    """Where there can be no folder, and in one that is read-only, for the system's owner, too."""
    (tmp_path / "a file").write_text("not a folder")
    folder = tmp_path / place
    assert not_kept(run_virtual, memory_connector, spoken(0.3, 2.0, 3.0), folder, caplog)


def not_kept(
    run_virtual: Virtual,
    memory_connector: Any,
    audio: bytes,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> bool:
    """Whether two utterances are answered, with one warning."""
    capture = Capture(folder)
    for _ in range(2):
        assert run_virtual(lambda: utter(memory_connector(), audio, capture)) == TEXT
    capture.close()
    (warning,) = [record.getMessage() for record in caplog.records]
    return "cannot be kept" in warning


def test_a_disk_that_is_too_slow_gives_up_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for the disk is bounded; the record is left out as a whole."""
    monkeypatch.setattr("wyoming_flux.utterance.capture._MOST_WAITING", 300_000)
    capture = Capture(tmp_path)
    moves = threading.Event()
    capture.run(moves.wait, 0)
    stalled = capture.machine(UtteranceSettings(), FluxSettings(), ["flux"], 0.0)
    for number in range(100):
        stalled.feed(bytes(6400), number * 0.2)
    stalled.close(20.0)
    moves.set()
    capture.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [2, 640, 100_000])
def test_long_audio_is_whole(tmp_path: Path, chunk: int) -> None:
    """What is written in several parts, in pieces of any size, is one recording."""
    audio = bytes(range(250)) * 2600
    capture = Capture(tmp_path)
    machine = capture.machine(UtteranceSettings(), FluxSettings(), ["flux"], 0.0)
    for at in range(0, len(audio), chunk):
        machine.feed(audio[at : at + chunk], at / 32000)
    machine.close(30.0)
    capture.close()
    with wave.open(str(next(tmp_path.glob("*.wav")))) as wav:
        assert wav.readframes(wav.getnframes()) == audio
    record = read(kept(tmp_path)[0].read_text("utf-8"))
    assert sum(line["bytes"] for line in record.inputs if line["in"] == "feed") == len(audio)


def test_capture_is_bounded(
    run_virtual: Virtual, memory_connector: Any, spoken: Any, tmp_path: Path
) -> None:
    """The newest stay, as many and as large as allowed; files of others are left alone."""
    other = tmp_path / "notes.wav"
    other.write_text("mine")
    times = iter(range(1_000_000, 2_000_000, 60))
    capture = Capture(tmp_path, most=2, clock=lambda: float(next(times)))
    for _ in range(4):
        run_virtual(lambda: utter(memory_connector(), spoken(0.3, 2.0, 3.0), capture))
    capture.close()
    assert len(kept(tmp_path)) == 2
    assert len(list(tmp_path.glob("flux-*.wav"))) == 2
    assert other.read_text() == "mine"
    both = sum(path.stat().st_size for path in tmp_path.glob("flux-*"))
    tight = Capture(tmp_path, megabytes=both / 1e6, clock=lambda: float(next(times)))
    oldest = kept(tmp_path)[0]
    run_virtual(lambda: utter(memory_connector(), spoken(0.3, 2.0, 3.0), tight))
    tight.close()
    assert len(kept(tmp_path)) == 2, "one has to go for as many bytes"
    assert oldest not in kept(tmp_path)
    small = Capture(tmp_path, megabytes=0.03)
    assert run_virtual(lambda: utter(memory_connector(), spoken(0.3, 2.0, 3.0), small)) == TEXT
    small.close()
    assert len(kept(tmp_path)) == 2, "one that is too large alone is given up"


def test_nothing_is_kept_after_closing(
    run_virtual: Virtual, memory_connector: Any, spoken: Any, tmp_path: Path
) -> None:
    """An utterance that outlives its capture is answered all the same."""
    capture = Capture(tmp_path)
    capture.close()
    assert run_virtual(lambda: utter(memory_connector(), spoken(0.3, 2.0, 3.0), capture)) == TEXT
    assert not kept(tmp_path)


def test_every_setting_is_in_a_record() -> None:
    """Settings that were made for a record come back as they were."""
    flux = FluxSettings(keyterms=("Nabu Casa", "Küche"), eager_eot_threshold=0.4, sample_rate=8000)
    sink = Memory()
    recorder = Recorder(
        UtteranceSettings(wake_phrases=()), flux, ["one", "two"], 5.0, sink=sink, about={"a": 1}
    )
    recorder.events()
    recorder.close(6.0)
    record = read(sink.text)
    assert record.flux == flux
    assert record.utterance == dataclasses.replace(UtteranceSettings(), wake_phrases=())
    assert record.endpoints == ("one", "two")
    assert record.header["a"] == 1


def test_a_recorder_is_as_quick_as_a_machine() -> None:
    """Python keeps thirty attributes in the object itself; with more each costs a look-up."""
    machine = Recorder(UtteranceSettings(), FluxSettings(), ["flux"], 0.0, sink=Memory(), about={})
    assert len(vars(machine)) <= 30
