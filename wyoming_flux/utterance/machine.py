"""Decides all of one utterance: a state machine without I/O, and without a clock of its own.

::

    CONNECTING --opened--> STREAMING --EndOfTurn with text, hold > 0--> HOLDING
     ^  | failed             |  ^------- later text -----------------------+ |
     |  v                    | ended, all of the tape sent                   | ended, owed > 0.1 s
     | PAUSING               v                                               |
     |                    DRAINING <-----------------------------------------+
     +-- lost or stalled -- STREAMING, DRAINING         any -- answer, END_BY --> ANSWERED

Every input brings ``now`` (seconds, monotonic) and, where it comes from a stream, the number of its
attempt: what a stream says that was given up changes nothing. After each input the caller takes
:meth:`Machine.events` and carries them out; nothing calls back. :meth:`Machine.tick` is due by
:attr:`Machine.deadline`.

The rules, by number, are those of ``docs/turns.md``; their numbers stand in :mod:`.rules`. Places
are whole samples. Only ``t``, the machine's own time, has deadlines: one input moves it by at most
a quarter of a second, so that a process that was stopped for five seconds reads what has arrived
before any deadline counts.
"""

import dataclasses
from collections.abc import Sequence
from enum import Enum, auto

from wyoming_flux.errors import (
    ConnectionLost,
    EndpointBusy,
    EndpointError,
    FluxTimeout,
    NotFlux,
    WyomingFluxError,
)
from wyoming_flux.flux.learnt import Facts
from wyoming_flux.flux.messages import (
    CLOSE_STREAM,
    FORCE_END_TURN,
    NO_ACTIVE_TURN,
    FluxFault,
    FluxWarning,
    Garbage,
    Message,
    TurnInfo,
)
from wyoming_flux.settings import FluxSettings, UtteranceSettings

from . import rules
from .events import Answer, Connect, Drop, Event, Fact, Learnt, Partial
from .outcome import Trigger
from .stream import Stream
from .tape import WIDTH, Tape
from .texts import Change, Partials, Texts


class State(Enum):
    """Where an utterance stands; see the picture above."""

    CONNECTING = auto()
    PAUSING = auto()
    STREAMING = auto()
    HOLDING = auto()
    DRAINING = auto()
    ANSWERED = auto()


class Machine:
    """One utterance: audio, messages and time in; frames, events and one answer out."""

    def __init__(
        self,
        settings: UtteranceSettings,
        flux: FluxSettings,
        endpoints: Sequence[str],
        now: float,
    ) -> None:
        """Begin to connect to the first of *endpoints*, which are named for messages alone."""
        self.state = State.CONNECTING
        self._settings = settings
        self._rate = flux.sample_rate
        self._frame = self._n(rules.FRAME)
        self._late_frame = self._n(rules.FRAME_IN_TEXT)
        self._timeout = flux.effective_eot_timeout_ms * self._rate // 1000
        self._early = settings.answer_on == "end-of-turn"
        self._endpoints = endpoints
        self._tape = Tape()
        self._texts = Texts(self._rate, settings.wake_phrases, flux.keyterms)
        self._partials = Partials()
        self._events: list[Event] = []

        self._last = now
        self._beat = now + rules.BEAT
        self._t = 0.0
        # The client: since when nothing has come, its longest gap; why and where it ended.
        self._silent_since = 0.0
        self._gap = 0.0
        self._ended: Trigger | None = None
        self._end = 0
        self._end_by = 0.0
        self._limit: tuple[int, Trigger] | None = None
        self._cut = 0
        # The way to Flux: the stream, or attempts under way; what the present fault has cost.
        self._stream: Stream | None = None
        self._attempt = 0
        self._trying: dict[int, tuple[int, float]] = {}
        self._pointer = 0
        self._pointed_at = 0.0
        self._replay_at = 0
        # Whether a control message failed in this utterance.
        self._silence_alone = False
        # How late the last finished turn's end was told: its last words may come again.
        self._seam_lag = 0
        self._retry_at = 0.0
        # Since when there has been no stream, and what the present fault has cost before.
        self._alone_since = 0.0
        self._spent = 0.0
        self._failures = 0
        self._losses = 0
        self._furthest = 0
        self._fault_at = 0
        self._error: EndpointError | None = None
        self._faults: list[tuple[int, WyomingFluxError]] = []
        self._best = ("", 0)
        # An assistant's limits: seconds listened to a stream that speaks; until when to hold.
        self._accounted = 0.0
        self._listened = 0.0
        self._text_since: float | None = None
        self._hold_for = settings.effective_hold(flux.sensitivity) / 1000
        self._hold: tuple[int, float] = (0, 0.0)
        self._connect()

    # --- what the caller asks --------------------------------------------------------------

    @property
    def answered(self) -> bool:
        """Whether there is an answer."""
        return self.state is State.ANSWERED

    @property
    def heard(self) -> float:
        """Seconds of the utterance that were heard at least once, for a person who waits."""
        return self._furthest / self._rate

    @property
    def listens_from(self) -> int:
        """Where in the utterance (samples) the present stream began, or the next one will."""
        return self._replay_at

    @property
    def room(self) -> bool:
        """Whether the client may send on."""
        if self._ended is not None or self.answered:
            return True
        cursor = self._replay_at if self._stream is None else self._stream.cursor
        return self._tape.end - cursor < rules.MAX_UNSENT * self._rate

    @property
    def deadline(self) -> float | None:
        """When :meth:`tick` is due; None once there is an answer."""
        if self.answered:
            return None
        due = self._beat
        if self.state is State.PAUSING:
            due = min(due, self._last + self._retry_at - self._t)
        elif self.state is State.HOLDING:
            due = min(due, self._last + self._hold[1] - self._t)
        if self._texts.passed_at is not None:
            due = min(due, self._last + self._texts.passed_at + rules.LATE_END - self._t)
        # Never at once: what is due may be short of its time by a rounding error.
        return max(due, self._last + 0.001)

    @property
    def decided(self) -> bool:
        """Whether there are events to be carried out."""
        return bool(self._events)

    def events(self) -> list[Event]:
        """Return what is to be carried out, in order, each once."""
        events, self._events = self._events, []
        return events

    # --- inputs: the client ----------------------------------------------------------------

    def feed(self, pcm: bytes, now: float) -> None:
        """Take linear16 mono audio of any length, odd bytes included."""
        self._advance(now)
        if self.answered:
            return
        if self._ended is not None:
            self._cut += len(pcm) // WIDTH
            return
        self._gap = max(self._gap, self._t - self._silent_since)
        self._silent_since = self._t
        self._tape.append(pcm)
        if self._limit is not None and self._tape.end > self._limit[0]:
            at, trigger = self._limit
            self._cut = self._tape.end - at
            self._finish_client(trigger, at)

    def end(self, now: float) -> None:
        """Take note that the client is done."""
        self._advance(now)
        if not self.answered and self._ended is None:
            self._finish_client(Trigger.AUDIO_STOP, self._tape.end)

    def limit(self, seconds: float, trigger: Trigger, now: float) -> None:
        """Take so many more seconds of audio at most; what is cut then is missing."""
        self._advance(now)
        if self._limit is None:
            self._limit = (self._tape.end + self._n(seconds), trigger)

    def close(self, now: float) -> None:
        """Take note that nobody waits for the answer: there will be none, and no audio is kept."""
        self._advance(now)
        self.state = State.ANSWERED
        self._stream = None
        self._trying.clear()
        # Not left to the garbage collector, which may come after a thousand such clients.
        self._tape.clear()

    # --- inputs: the way to Flux -----------------------------------------------------------

    def opened(self, attempt: int, facts: Facts, now: float) -> None:
        """Take an open connection: the first of all attempts wins."""
        self._advance(now)
        tried = self._trying.pop(attempt, None)
        if tried is None or self.answered:
            return
        self._events += [Drop(other) for other in self._trying]
        self._trying.clear()
        # Where text comes at the very end alone, only the close tells that there is no more.
        if self._silence_alone and facts.partial:
            facts = dataclasses.replace(facts, control=None)
        self._stream = Stream(
            attempt, tried[0], facts, rate=self._rate, start=self._replay_at, t=self._t
        )
        self._spent += self._t - self._alone_since
        self._stream.account(self._t, owes=self._owed > self._n(rules.OWED))
        self.state = State.STREAMING
        if self._ended is not None and self._replay_at >= self._end:
            self._drain(self._stream)

    def failed(self, attempt: int, error: EndpointError, now: float) -> None:
        """Take note that an attempt failed."""
        self._advance(now)
        tried = self._trying.pop(attempt, None)
        if tried is None or self.answered:
            return
        self._note(tried[0], error)
        if not error.retryable:
            self._leave(tried[0])
        elif not self._trying:
            self._back_off()

    def lost(self, attempt: int, error: EndpointError, now: float) -> None:
        """Take note that a connection broke."""
        self._advance(now)
        stream = self._stream
        if stream is None or stream.attempt != attempt:
            return
        flushed = isinstance(error, ConnectionLost) and error.close_code in rules.FLUSHED
        asked = stream.control == CLOSE_STREAM and flushed
        if asked and stream.covers(self._stream_end(stream)):
            self._answer()
        else:
            self._lose(stream, error)

    def receive(self, attempt: int, message: Message, now: float) -> None:
        """Take what Flux says."""
        self._advance(now)
        stream = self._stream
        if stream is None or stream.attempt != attempt:
            return
        match message:
            case TurnInfo():
                self._turn_info(stream, message)
            case Garbage():
                stream.garbage = True
            case FluxFault(code, description):
                text = f"{code}: {description}".strip(": ")[:200]
                self._lose(stream, ConnectionLost(f"Flux reported a fault: {text}"))
            case FluxWarning(code=code) if code == NO_ACTIVE_TURN:
                # ForceEndTurn goes out after all was heard: nothing else was said.
                if stream.control == FORCE_END_TURN:
                    self._answer()
            case _:
                pass

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._advance(now)
        self._account()
        self._beat = self._last + rules.BEAT
        stream = self._stream
        if self.answered:
            return
        if self._ended is not None and self._t >= self._end_by + self._thinks:
            whole = stream is not None and stream.facts.partial
            if whole and stream is not None and stream.covers(self._stream_end(stream)):
                self._answer()
            else:
                self._give_up(FluxTimeout("Flux did not hear the audio to its end in time"))
        elif stream is None:
            self._check_attempts()
        else:
            self._check_stream(stream)
        if self._ended is None and not self.answered:
            self._check_client()

    def next_to_send(self, attempt: int, now: float) -> bytes | str | None:
        """Return the next frame, or control message, of an attempt's stream; None: not now."""
        stream = self._stream
        if stream is None or stream.attempt != attempt or stream.control == CLOSE_STREAM:
            return None
        if stream.unheard >= self._n(rules.MAX_UNHEARD):
            return None
        frame = self._client_frame(stream)
        if not frame and self.state is State.DRAINING:
            end = self._stream_end(stream)
            if (control := stream.next_control(end)) is not None:
                stream.control = control
                return control
            frame = stream.next_silence(end, self._frame)
        if not frame:
            return None
        self._advance(now)
        stream.send(frame, self._t)
        return frame

    # --- time, and where the audio stands --------------------------------------------------

    def _advance(self, now: float) -> None:
        step = now - self._last
        if step > 0:
            self._last = now
            self._t += min(step, rules.STEP)

    def _account(self) -> None:
        """Count for how long the client is silent, Flux owes, and it is listened to."""
        owes = self._owed > self._n(rules.OWED)
        if owes or self._ended is not None or not self.room:
            self._silent_since = self._t
        if (stream := self._stream) is not None:
            stream.account(self._t, owes=owes)
            if stream.told:
                self._listened += self._t - self._accounted
        self._accounted = self._t

    def _n(self, seconds: float) -> int:
        return int(seconds * self._rate)

    @property
    def _owed(self) -> int:
        """Audio that Flux should have heard by now."""
        last = self._tape.end if self._ended is None else self._end
        stream = self._stream
        if stream is None:
            return last - self._replay_at
        return last - stream.place(stream.heard) - (stream.lag or 0)

    def _stream_end(self, stream: Stream) -> int:
        """Where on the stream the client's audio ends."""
        return self._end - stream.start

    def _client_frame(self, stream: Stream) -> bytes:
        last = self._tape.end if self._ended is None else self._end
        size = min(last - stream.cursor, self._frame)
        if self._ended is None and size < self._frame:
            size = self._late_frame if size >= self._late_frame and self._texts.any else 0
        if size <= 0:
            return b""
        frame = self._tape.read(stream.cursor, size)
        stream.cursor += size
        if self._ended is not None and stream.cursor >= self._end:
            self._drain(stream)
        return frame

    # --- hearing ---------------------------------------------------------------------------

    def _turn_info(self, stream: Stream, info: TurnInfo) -> None:
        if not stream.told:
            self._events.append(Learnt(stream.endpoint, Fact.WORKS))
        was_blind = stream.blind
        stream.hear(info.audio_window_end, self._t)
        if stream.talks(self._t, since=rules.STALL):
            stream.go_blind(self._t)
        if stream.blind and not was_blind:
            self._events.append(Learnt(stream.endpoint, Fact.NO_WINDOWS))
        place = stream.place(stream.heard)
        if not stream.facts.partial and info.audio_window_end is not None:
            # The text of a turn comes while the next one is heard.
            place = stream.place(round(info.audio_window_end * self._rate))
        first = info.first_word_start
        told = first is not None and not stream.blind
        word_at = stream.place(round(first * self._rate)) if told and first is not None else None
        self._changed(stream, self._texts.add(info, place, word_at, self._t))
        self._furthest = max(self._furthest, place)
        if self._furthest - self._fault_at >= self._n(rules.FRESH):
            # Rule 7: what comes now is another fault.
            self._losses = self._failures = 0
            self._spent = 0.0
        self._check_limits(stream, place)
        self._check_drained(stream)
        if not self.answered:
            self._tape.forget(self._replay_from(stream)[0] - self._n(rules.KEPT_BEFORE))

    def _changed(self, stream: Stream, change: Change) -> None:
        if change.text:
            stream.changed_heard = stream.heard
            stream.progress(self._t)
            if self._text_since is None:
                self._text_since = self._listened
            if self.state is State.HOLDING:
                self.state = State.STREAMING
        if change.ended is None:
            self._show(self._partials.update(self._texts.preview()))
            return
        stream.ended_heard = stream.heard
        self._seam_lag = self._n(rules.LAG_BLIND) if stream.blind else stream.seam_lag
        self._show(self._partials.end_turn(change.ended))
        if not self._texts.any:
            self._text_since = None
        elif change.ended and self._early and self._ended is None:
            self._end_of_turn(stream)

    def _end_of_turn(self, stream: Stream) -> None:
        hold = self._hold_for
        if not hold:
            self._answer(Trigger.END_OF_TURN, with_open=False)
            return
        self._hold = (stream.heard + self._n(hold), self._t + hold + 1.0)
        self.state = State.HOLDING

    def _show(self, text: str) -> None:
        if text:
            self._events.append(Partial(text))

    def _check_limits(self, stream: Stream, place: int) -> None:
        """``hold``, ``no_speech_timeout``, ``max_turn``: an assistant's limits, in heard audio."""
        if self._ended is not None or not self._early or self.answered:
            return
        first = self._texts.first_text_at
        if self.state is State.HOLDING:
            if stream.heard >= self._hold[0]:
                self._answer(Trigger.END_OF_TURN, with_open=False)
        elif not self._texts.any:
            if place - self._texts.no_speech_from >= self._n(self._no_speech(stream)):
                self._no_text(stream)
        elif first is not None and place - first >= self._n(self._settings.max_turn):
            self._finish_client(Trigger.MAX_TURN, stream.cursor)

    def _no_text(self, stream: Stream) -> None:
        if stream.facts.partial:
            self._answer(Trigger.NO_SPEECH)
        else:
            # It may be in the middle of a sentence.
            self._finish_client(Trigger.MAX_TURN, stream.cursor)

    def _no_speech(self, stream: Stream) -> float:
        # Who tells no text while listening may hear a sentence.
        more = 0.0 if stream.facts.partial else self._settings.max_turn
        return self._settings.no_speech_timeout + more

    # --- the client's end ------------------------------------------------------------------

    def _finish_client(self, why: Trigger, at: int) -> None:
        self._ended = why
        self._end = at
        owed = max(0, self._owed)
        self._end_by = self._t + rules.END_BY[0] * owed / self._rate + rules.END_BY[1]
        stream = self._stream
        if not at or (self.state is State.HOLDING and owed <= self._n(rules.COVERED)):
            self._answer()
        elif stream is not None:
            self.state = State.STREAMING
            if stream.cursor >= at:
                self._drain(stream)
            self._check_drained(stream)

    def _drain(self, stream: Stream) -> None:
        self.state = State.DRAINING
        stream.drain(self._t)

    def _check_drained(self, stream: Stream) -> None:
        """Rule 2: all was heard, and the text stands."""
        if self.state is not State.DRAINING or not stream.told or not stream.facts.partial:
            return
        end = self._stream_end(stream)
        covered = stream.ended_heard >= end - self._n(rules.COVERED)
        beyond = stream.heard - end >= self._n(rules.BEYOND)
        settled = stream.heard - stream.changed_heard >= self._n(rules.SETTLED)
        if (self._texts.finished and covered) or (beyond and settled and not stream.control):
            self._answer()

    # --- what is due -----------------------------------------------------------------------

    def _check_client(self) -> None:
        """Rule 1."""
        limit = rules.SILENT_BEFORE_TEXT
        if self._texts.any:
            limit = min(rules.SILENT + self._gap, rules.SILENT_MOST)
        if self._t - self._silent_since >= limit:
            self._finish_client(Trigger.NO_AUDIO, self._tape.end)

    def _check_stream(self, stream: Stream) -> None:
        passed_at = self._texts.passed_at
        if passed_at is not None and self._t >= passed_at + rules.LATE_END:
            self._changed(stream, Change(ended=self._texts.end_passed()))
            self._check_drained(stream)
        if self.answered:
            return
        if self.state is State.HOLDING and self._t >= self._hold[1]:
            self._answer(Trigger.END_OF_TURN, with_open=False)
        elif self.state is State.DRAINING:
            self._check_still(stream)
        elif self._is_stalled(stream):
            self._stalled(stream)
        elif self._early and self._ended is None:
            self._check_twins(stream)

    def _is_stalled(self, stream: Stream) -> bool:
        """Rule 5, and rule 7's budget."""
        owing = stream.owing(self._t)
        late = owing >= rules.OPENED_GETS and self._t >= self._out_of_time
        return late or owing >= self._patience(stream)

    @property
    def _thinks(self) -> float:
        """What END_BY is longer by."""
        stream = self._stream
        return rules.ENGINE if stream is not None and not stream.facts.partial else 0.0

    def _patience(self, stream: Stream) -> float:
        if stream.told and not stream.facts.partial:
            return rules.ENGINE
        if stream.told:
            return rules.STALL_WITH_NEXT if self._has_next else rules.STALL
        return rules.FIRST_MESSAGE_WITH_NEXT if self._has_next else rules.FIRST_MESSAGE

    def _stalled(self, stream: Stream) -> None:
        if stream.talks(self._t):
            # Rule 4: it hears, but does not tell how far.
            stream.go_blind(self._t)
            self._events.append(Learnt(stream.endpoint, Fact.NO_WINDOWS))
            return
        name = self._endpoints[stream.endpoint]
        if stream.garbage and not stream.told and self._failures:
            # Once may be chance.
            self._lose(stream, NotFlux(f"what answers at {name} does not send Flux messages"))
        else:
            self._lose(stream, FluxTimeout(f"{name} stopped answering in the middle of a turn"))

    def _check_still(self, stream: Stream) -> None:
        still = stream.stand(self._t)
        if stream.blind and stream.told:
            if stream.exhausted(self._t):
                self._answer()
        elif stream.covers(self._stream_end(stream)):
            if stream.facts.partial and still >= rules.STILL_ENDS:
                self._answer()
        elif still >= self._patience(stream) or self._is_stalled(stream):
            self._stalled(stream)

    def _check_twins(self, stream: Stream) -> None:
        """Rule 8: what counts in heard audio has a twin in time."""
        if not self._texts.any:
            if self._listened < self._no_speech(stream) + rules.TWIN_NO_SPEECH:
                return
            if self._owed > self._n(rules.BEYOND):
                self._give_up(FluxTimeout("Flux talks, but does not hear any further"))
            else:
                self._no_text(stream)
        elif self._text_since is not None and self.state is State.STREAMING:
            since = self._listened - self._text_since
            if since >= self._settings.max_turn + rules.TWIN_MAX_TURN:
                self._finish_client(Trigger.MAX_TURN, stream.cursor)

    # --- attempts --------------------------------------------------------------------------

    def _connect(self) -> None:
        self._attempt += 1
        self._trying[self._attempt] = (self._pointer, self._t)
        self._events.append(Connect(self._attempt, self._pointer))
        self.state = State.CONNECTING

    def _check_attempts(self) -> None:
        """Rule 7: no timer for an attempt, but another one beside it, and a budget for all."""
        late = self._t >= self._out_of_time
        if self._has_next and (late or self._t - self._pointed_at >= rules.BESIDE_NEXT):
            self._pass_over(self._pointer)
            self._point(self._pointer + 1)
            self._connect()
        elif late:
            name = self._endpoints[self._pointer]
            error = FluxTimeout(f"{name} could not be reached in time")
            self._give_up(error if self._trying else self._error)
        elif self.state is State.PAUSING:
            if self._t >= self._retry_at:
                self._connect()
        elif len(self._trying) == 1 and not self._has_next:
            ((_, began),) = self._trying.values()
            if self._t - began >= rules.BESIDE:
                self._connect()

    @property
    def _has_next(self) -> bool:
        return self._pointer + 1 < len(self._endpoints)

    @property
    def _out_of_time(self) -> float:
        """Rule 7: when the present fault has cost all that it may."""
        stream = self._stream
        since = self._alone_since if stream is None else self._t - stream.owing(self._t)
        late = since + rules.BUDGET - self._spent
        # The last one gets its time, however much those before it took.
        return max(late, self._pointed_at + rules.LAST_GETS) if self._pointer else late

    def _point(self, endpoint: int) -> None:
        self._pointer = endpoint
        self._pointed_at = self._t
        self._failures = self._losses = 0

    def _note(self, endpoint: int, error: EndpointError) -> None:
        self._error = error
        self._faults.append((endpoint, error))

    def _pass_over(self, endpoint: int) -> None:
        """Take note that another endpoint has to be asked beside this one."""
        if self._trying:
            name = self._endpoints[endpoint]
            self._note(endpoint, FluxTimeout(f"{name} was not open after {rules.BESIDE_NEXT:g} s"))
        self._events.append(Learnt(endpoint, Fact.DOWN, error=self._error))

    def _leave(self, endpoint: int) -> None:
        """Go on with the next endpoint, unless that is under way; give up where there is none."""
        if not isinstance(self._error, EndpointBusy):
            self._events.append(Learnt(endpoint, Fact.DOWN, error=self._error))
        if self._pointer <= endpoint and self._has_next:
            self._point(endpoint + 1)
            self._connect()
        elif self._trying:
            pass
        elif self._pointer > endpoint:
            # Asked beside this one, and dropped when this one was the first to open.
            self._point(self._pointer)
            self._connect()
        else:
            self._give_up(self._error)

    def _back_off(self) -> None:
        if self._failures < len(rules.BACK_OFF):
            self._retry_at = self._t + rules.BACK_OFF[self._failures]
            self._failures += 1
            self.state = State.PAUSING
            if self._retry_at < self._out_of_time:
                return
        self._leave(self._pointer)

    # --- faults of a stream ----------------------------------------------------------------

    def _lose(self, stream: Stream, error: EndpointError) -> None:
        """Rule 6: answer if the text is whole, else let another stream hear what is not settled."""
        self._note(stream.endpoint, error)
        if stream.control is not None:
            fails = Learnt(stream.endpoint, Fact.CONTROL_FAILS, stream.control)
            self._events.append(fails)
            self._silence_alone = True
        if self.state is State.HOLDING:
            self._answer(Trigger.END_OF_TURN)
            return
        if self._is_whole(stream):
            self._answer(self._ended or Trigger.CONNECTION_LOST)
            return
        self._remember_best(stream)
        at, freeze = self._replay_from(stream)
        at = max(at, self._tape.start)
        lag = self._seam_lag
        repeats = lag > self._n(rules.REPEATS_FROM) and at <= self._texts.settled_until + lag
        frozen = self._texts.restart(at, freeze=freeze, repeats=repeats)
        self._partials.restart()
        if frozen is not None:
            self._show(self._partials.end_turn(frozen))
        self._replay_at = at
        self._stream = None
        self._events.append(Drop(stream.attempt))
        self._alone_since = self._t - stream.owing(self._t)
        if stream.progressed:
            # What has been lost before it heard anything leaves the next one's time as it is.
            self._pointed_at = self._t
        self._fault_at = self._furthest
        self._reconnect(stream, error)

    def _reconnect(self, stream: Stream, error: EndpointError) -> None:
        stalled = isinstance(error, FluxTimeout)
        if not error.retryable or (stalled and self._has_next):
            self._leave(stream.endpoint)
        elif not stream.progressed:
            self._back_off()
        else:
            self._losses += 1
            again = self._losses < rules.MAX_LOSSES + (not self._has_next)
            if again and self._t < self._out_of_time:
                self._connect()
            else:
                self._leave(stream.endpoint)

    def _is_whole(self, stream: Stream) -> bool:
        if not stream.facts.partial:
            return False
        if self._ended is not None:
            beyond = stream.heard - self._stream_end(stream) >= self._n(rules.WHOLE_BEYOND)
            return self.state is State.DRAINING and stream.told and beyond
        still = stream.heard - stream.changed_heard
        return self._early and self._texts.any and still >= self._timeout

    def _replay_from(self, stream: Stream) -> tuple[int, bool]:
        """Where another stream would have to begin, and whether the open text is frozen then."""
        texts = self._texts
        heard = stream.place(stream.heard)
        floor = max(stream.start, texts.settled_until)
        if stream.blind:
            estimated = texts.settled_until - self._n(rules.REPLAY_BLIND)
            return max(stream.start, estimated), False
        since = texts.open_since
        if not stream.facts.partial:
            return floor, False
        if since is None:
            return max(floor, heard - self._n(rules.REPLAY_BEFORE_TEXT)), False
        again = self._losses > 0 and heard - since > self._n(rules.LONG_AGAIN)
        if again or heard - since > self._n(rules.LONG_TURN):
            return max(floor, heard - self._n(rules.REPLAY_LONG)), True
        begin = texts.empty_until - self._n(rules.REPLAY_BEFORE_TEXT)
        if texts.word_at is not None:
            begin = min(begin, texts.word_at - self._n(rules.REPLAY_BEFORE_WORD))
        return max(floor, begin), False

    # --- the end ---------------------------------------------------------------------------

    def _remember_best(self, stream: Stream) -> None:
        partial = stream.facts.partial
        heard = stream.place(stream.heard) if partial else self._texts.settled_until
        text = self._texts.answer()
        if text and heard >= self._best[1]:
            self._best = (text, heard)

    def _answer(self, trigger: Trigger | None = None, *, with_open: bool = True) -> None:
        trigger = trigger or self._ended or Trigger.AUDIO_STOP
        text = self._texts.answer(with_open=with_open)
        missing = self._texts.gaps
        if trigger is Trigger.DAILY_LIMIT:
            missing += self._cut / self._rate
        self._show(self._partials.finish(text))
        self._conclude(text, trigger, missing, None)

    def _give_up(self, error: EndpointError | None) -> None:
        """Rule 13: what was understood, and how much is missing."""
        stream = self._stream
        error = error or ConnectionLost("the connection to Flux was lost")
        if stream is not None:
            self._remember_best(stream)
            self._note(stream.endpoint, error)
        text, heard = self._best
        last = self._end if self._ended is not None else self._tape.end
        # Nobody knows what would have followed: never nothing.
        missing = max((last - heard) / self._rate, rules.COVERED)
        self._conclude(text, self._ended or Trigger.CONNECTION_LOST, missing, error)

    def _conclude(
        self, text: str, trigger: Trigger, missing: float, error: WyomingFluxError | None
    ) -> None:
        stream, self._stream = self._stream, None
        endpoint = stream.endpoint if stream is not None else None
        faults = tuple(self._faults)
        self._events.append(Answer(text, trigger, missing, endpoint, faults, error))
        self._events += [Drop(attempt) for attempt in self._trying]
        self._trying.clear()
        if stream is not None:
            provable = error is None and stream.told and stream.control is None
            prove = stream.facts.candidate if provable else None
            self._events.append(Drop(stream.attempt, prove, stream.sent / self._rate))
        self.state = State.ANSWERED
        self._tape.clear()
