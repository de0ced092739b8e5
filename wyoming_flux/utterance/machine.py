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
from .attempts import Attempts
from .events import Answer, Drop, Event, Fact, Learnt, Partial
from .outcome import Trigger
from .partials import Partials
from .source import Source
from .stream import Stream
from .texts import Change, Texts


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
        self._settings = settings
        self._rate = flux.sample_rate
        self._timeout = flux.effective_eot_timeout_ms * self._rate // 1000
        self._early = settings.answer_on == "end-of-turn"
        self._endpoints = endpoints
        self._source = Source(self._rate)
        self._texts = Texts(self._rate, settings.wake_phrases, flux.keyterms)
        self._partials = Partials()
        self._events: list[Event] = []

        self._last = now
        self._beat = now + rules.BEAT
        self._t = 0.0
        # When the answer is due, once the client has ended; by the endpoint that is asked.
        self._end_by = 0.0
        self._asked = 0
        # The way to Flux: the stream, or attempts; where the stream began, or the next one will.
        self._attempts = Attempts(endpoints, self._rate, self._events)
        self._stream: Stream | None = None
        self._replay_at = 0
        # Whether a control message failed in this utterance.
        self._silence_alone = False
        # How late the last finished turn's end was told: its last words may come again.
        self._seam_lag = 0
        # The most that was understood, and up to where.
        self._best = ("", 0)
        # An assistant's limits: seconds listened to a stream that speaks; until when to hold.
        self._accounted = 0.0
        self._listened = 0.0
        self._text_since = 0.0
        self._hold_for = settings.effective_hold(flux.sensitivity) / 1000
        self._hold: tuple[int, float] | None = None
        self.answered = False
        """Whether there is an answer."""
        self._attempts.connect(self._t)

    # --- what the caller asks --------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where the utterance stands."""
        if self.answered:
            return State.ANSWERED
        if self._stream is None:
            return State.CONNECTING if self._attempts.trying else State.PAUSING
        if self._hold is not None:
            return State.HOLDING
        return State.DRAINING if self._stream.draining else State.STREAMING

    @property
    def heard(self) -> float:
        """Seconds of the utterance that were heard at least once, for a person who waits."""
        return self._attempts.furthest / self._rate

    @property
    def listens_from(self) -> int:
        """Where in the utterance (samples) the present stream began, or the next one will."""
        return self._replay_at

    @property
    def room(self) -> bool:
        """Whether the client may send on."""
        if self._source.ended is not None or self.answered:
            return True
        cursor = self._replay_at if self._stream is None else self._stream.cursor
        return self._source.last - cursor < rules.MAX_UNSENT * self._rate

    @property
    def waiting(self) -> bool:
        """Whether there may be something to send, although no audio comes."""
        return self._stream is not None and self._stream.waiting

    @property
    def deadline(self) -> float | None:
        """When :meth:`tick` is due; None once there is an answer."""
        if self.answered:
            return None
        due = self._beat
        if self._stream is None and not self._attempts.trying:
            due = min(due, self._last + self._attempts.retry_at - self._t)
        elif self._hold is not None:
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
        events = self._events.copy()
        self._events.clear()
        return events

    # --- inputs: the client ----------------------------------------------------------------

    def feed(self, pcm: bytes, now: float) -> None:
        """Take linear16 mono audio of any length, odd bytes included."""
        self._advance(now)
        if self.answered:
            return
        goes_on = self._source.ended is None
        self._source.feed(pcm, self._t)
        if goes_on and self._source.ended is not None:
            self._client_ended()

    def end(self, now: float) -> None:
        """Take note that the client is done."""
        self._advance(now)
        if not self.answered and self._source.ended is None:
            self._end(Trigger.AUDIO_STOP)

    def limit(self, seconds: float, trigger: Trigger, now: float) -> None:
        """Take so many more seconds of audio at most; what is cut then is missing."""
        self._advance(now)
        self._source.limit(seconds, trigger)

    def close(self, now: float) -> None:
        """Take note that nobody waits for the answer: there will be none, and no audio is kept."""
        self._advance(now)
        self.answered = True
        self._stream = None
        self._attempts.trying.clear()
        # Not left to the garbage collector, which may come after a thousand such clients.
        self._source.tape.clear()

    # --- inputs: the way to Flux -----------------------------------------------------------

    def opened(self, attempt: int, facts: Facts, now: float) -> None:
        """Take an open connection: the first of all attempts wins."""
        self._advance(now)
        endpoint = self._attempts.opened(attempt, self._t)
        if endpoint is None:
            return
        # Where text comes at the very end alone, only the close tells that there is no more.
        if self._silence_alone and facts.partial:
            facts = dataclasses.replace(facts, control=None)
        source, start = self._source, self._replay_at
        self._stream = Stream(attempt, endpoint, facts, source, start=start, t=self._t)
        self._stream.account(self._t)

    def failed(self, attempt: int, error: EndpointError, now: float) -> None:
        """Take note that an attempt failed."""
        self._advance(now)
        self._attempts.failed(attempt, error, self._t)
        self._check_attempts()

    def lost(self, attempt: int, error: EndpointError, now: float) -> None:
        """Take note that a connection broke."""
        self._advance(now)
        stream = self._stream
        if stream is None or stream.attempt != attempt:
            return
        flushed = isinstance(error, ConnectionLost) and error.close_code in rules.FLUSHED
        asked = stream.control == CLOSE_STREAM and flushed
        if asked and stream.covers:
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
        if self._source.ended is not None and self._t >= self._end_by + self._thinks:
            settles = stream is not None and stream.facts.settles
            if settles and stream is not None and stream.covers:
                self._answer()
            else:
                self._too_late("Flux did not hear the audio to its end in time")
        elif stream is None:
            self._attempts.check(self._t)
            self._check_attempts()
        else:
            self._check_stream(stream)
        going_on = self._source.ended is None and not self.answered
        if going_on and self._source.silent(self._t, spoke=self._texts.any):
            self._end(Trigger.NO_AUDIO)

    def next_to_send(self, attempt: int) -> bytes | str | None:
        """Return the next frame, or control message, of an attempt's stream; None: not now.

        It is asked after each input, and counts as sent at the time of that.
        """
        stream = self._stream
        if stream is None or stream.attempt != attempt:
            return None
        return stream.next_to_send(self._t, in_text=self._texts.any)

    # --- time, and where the audio stands --------------------------------------------------

    def _advance(self, now: float) -> None:
        step = now - self._last
        if step > 0:
            self._last = now
            self._t += min(step, rules.STEP)

    def _account(self) -> None:
        """Count for how long the client is silent, Flux owes, and it is listened to."""
        stream = self._stream
        if stream is None:
            owes = self._owed > self._n(rules.OWED)
        else:
            owes = stream.account(self._t)
            self._listened += (self._t - self._accounted) * stream.told
        self._accounted = self._t
        if owes or not self.room:
            self._source.excuse(self._t)

    def _n(self, seconds: float) -> int:
        return int(seconds * self._rate)

    @property
    def _owed(self) -> int:
        """Audio that Flux should have heard by now."""
        stream = self._stream
        return self._source.last - self._replay_at if stream is None else stream.owed

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
        self._attempts.heard(place)
        self._check_limits(stream)
        self._check_drained(stream)
        if not self.answered:
            self._source.tape.forget(self._replay_from(stream)[0] - self._n(rules.KEPT_BEFORE))

    def _changed(self, stream: Stream, change: Change) -> None:
        if change.text:
            stream.changed_heard = stream.heard
            stream.progress(self._t)
            self._hold = None
        if change.ended is None:
            self._show(self._partials.update(self._texts.preview()))
            return
        stream.ended_heard = stream.heard
        self._seam_lag = self._n(rules.LAG_BLIND) if stream.blind else stream.seam_lag
        self._show(self._partials.end_turn(change.ended))
        if change.ended and self._early and self._source.ended is None:
            self._end_of_turn(stream)

    def _end_of_turn(self, stream: Stream) -> None:
        if not self._hold_for:
            self._answer(Trigger.END_OF_TURN, with_open=False)
            return
        self._hold = (stream.heard + self._n(self._hold_for), self._t + self._hold_for + 1.0)

    def _show(self, text: str) -> None:
        if text:
            self._events.append(Partial(text))

    def _check_limits(self, stream: Stream) -> None:
        """An assistant's limits count heard audio; each has a twin in time (rule 8)."""
        texts, first = self._texts, self._texts.first_text_at
        if self._source.ended is not None or not self._early or self.answered:
            return
        heard = stream.place(stream.heard)
        if not texts.any:
            self._text_since = self._listened
            # Who tells no text while listening may hear a sentence.
            more = 0.0 if stream.facts.partial else self._settings.max_turn
            most = self._settings.no_speech_timeout + more
            if heard - texts.no_speech_from >= self._n(most):
                self._no_text(stream)
            elif self._listened >= most + rules.TWIN_NO_SPEECH:
                if self._owed > self._n(rules.BEYOND):
                    self._too_late("Flux talks, but does not hear any further")
                else:
                    self._no_text(stream)
        elif self._hold is not None:
            if stream.heard >= self._hold[0] or self._t >= self._hold[1]:
                self._answer(Trigger.END_OF_TURN, with_open=False)
        else:
            most = self._settings.max_turn
            late = self._listened - self._text_since >= most + rules.TWIN_MAX_TURN
            if late or (first is not None and heard - first >= self._n(most)):
                self._end(Trigger.MAX_TURN, stream.cursor)

    def _no_text(self, stream: Stream) -> None:
        if stream.facts.partial:
            self._answer(Trigger.NO_SPEECH)
        else:
            # It may be in the middle of a sentence.
            self._end(Trigger.MAX_TURN, stream.cursor)

    # --- the client's end ------------------------------------------------------------------

    def _end(self, why: Trigger, at: int | None = None) -> None:
        self._source.end(why, self._source.last if at is None else at, self._t)
        self._client_ended()

    def _set_end_by(self) -> None:
        stream = self._stream
        heard = self._replay_at if stream is None else stream.place(stream.heard)
        rest = (self._source.last - heard) / self._rate
        self._end_by = self._t + rules.END_BY[0] * rest + rules.END_BY[1]

    def _client_ended(self) -> None:
        stream = self._stream
        self._set_end_by()
        holding, self._hold = self._hold is not None, None
        if not self._source.last or (holding and self._owed <= self._n(rules.COVERED)):
            self._answer()
        elif stream is not None:
            self._check_drained(stream)

    def _check_drained(self, stream: Stream) -> None:
        """Rule 2."""
        if not self.answered and stream.drained(finished=self._texts.finished):
            self._answer()

    # --- what is due -----------------------------------------------------------------------

    def _check_stream(self, stream: Stream) -> None:
        passed_at = self._texts.passed_at
        if passed_at is not None and self._t >= passed_at + rules.LATE_END:
            self._changed(stream, Change(ended=self._texts.end_passed()))
            self._check_drained(stream)
        if self.answered:
            return
        if stream.draining:
            self._check_still(stream)
        elif self._hold is None and self._is_stalled(stream):
            self._stalled(stream)
        else:
            self._check_limits(stream)

    def _is_stalled(self, stream: Stream) -> bool:
        """Rule 5, and rule 7's budget."""
        owing = stream.owing(self._t)
        late = owing >= rules.OPENED_GETS and self._attempts.late(self._t, owing)
        return (late and stream.facts.settles) or owing >= self._attempts.patience(stream)

    @property
    def _thinks(self) -> float:
        """What END_BY is longer by."""
        stream = self._stream
        return rules.ENGINE if stream is not None and not stream.facts.partial else 0.0

    def _stalled(self, stream: Stream) -> None:
        if stream.talks(self._t):
            # Rule 4: it hears, but does not tell how far.
            stream.go_blind(self._t)
            self._events.append(Learnt(stream.endpoint, Fact.NO_WINDOWS))
            return
        name = self._endpoints[stream.endpoint]
        if stream.garbage and not stream.told and self._attempts.failures:
            # Once may be chance.
            self._lose(stream, NotFlux(f"what answers at {name} does not send Flux messages"))
        else:
            self._lose(stream, FluxTimeout(f"{name} stopped answering in the middle of a turn"))

    def _check_still(self, stream: Stream) -> None:
        still = stream.stand(self._t)
        if stream.blind and stream.told:
            if stream.exhausted(self._t):
                self._answer()
        elif stream.covers:
            if stream.facts.settles and still >= rules.STILL_ENDS:
                self._answer()
        elif self._is_stalled(stream):
            self._stalled(stream)

    # --- faults ----------------------------------------------------------------------------

    def _check_attempts(self) -> None:
        if self._attempts.given_up and not self.answered:
            self._give_up(self._attempts.error)
        elif self._attempts.pointer > self._asked:
            # Rule 8: what the one before took is not the next one's.
            self._asked = self._attempts.pointer
            self._listened = self._text_since = 0.0
            self._set_end_by()

    def _too_late(self, text: str) -> None:
        """Rule 8, of one endpoint: the next is asked, where there is one."""
        stream, error = self._stream, FluxTimeout(text)
        if not self._attempts.has_next:
            self._give_up(error)
        elif stream is not None:
            self._lose(stream, error)
        else:
            self._attempts.check(self._t)
            self._check_attempts()

    def _lose(self, stream: Stream, error: EndpointError) -> None:
        """Rule 6: answer if the text is whole, else let another stream hear what is not settled."""
        self._attempts.note(stream.endpoint, error)
        if stream.control is not None:
            fails = Learnt(stream.endpoint, Fact.CONTROL_FAILS, stream.control)
            self._events.append(fails)
            self._silence_alone = True
        if self._hold is not None:
            self._answer(Trigger.END_OF_TURN)
            return
        if self._is_whole(stream):
            self._answer(self._source.ended or Trigger.CONNECTION_LOST)
            return
        self._remember_best(stream)
        at, freeze = self._replay_from(stream)
        at = max(at, self._source.tape.start)
        lag = self._seam_lag
        repeats = lag > self._n(rules.REPEATS_FROM) and at <= self._texts.settled_until + lag
        frozen = self._texts.restart(at, freeze=freeze, repeats=repeats)
        self._partials.restart()
        if frozen is not None:
            self._show(self._partials.end_turn(frozen))
        self._replay_at = at
        self._stream = None
        self._events.append(Drop(stream.attempt))
        self._attempts.lost(stream, error, self._t)
        self._check_attempts()

    def _is_whole(self, stream: Stream) -> bool:
        if not stream.facts.settles:
            return False
        if self._source.ended is not None:
            beyond = stream.heard - stream.end >= self._n(rules.WHOLE_BEYOND)
            return stream.draining and stream.told and beyond
        still = stream.heard - stream.changed_heard
        return self._early and self._texts.any and still >= self._timeout

    def _replay_from(self, stream: Stream) -> tuple[int, bool]:
        """Where another stream would have to begin, and whether the open text is frozen then."""
        settled = self._texts.settled_until
        if stream.blind:
            return max(stream.start, settled - self._n(rules.REPLAY_BLIND)), False
        if not stream.facts.partial or not (stream.facts.prompt or self._texts.any_open):
            return max(stream.start, settled), False
        # Somebody waits, or hearing all of it again has just failed.
        soon = self._source.ended is not None or self._attempts.losses > 0
        return self._texts.replay_from(stream.start, stream.place(stream.heard), soon=soon)

    # --- the end ---------------------------------------------------------------------------

    def _remember_best(self, stream: Stream) -> None:
        partial = stream.facts.partial
        heard = stream.place(stream.heard) if partial else self._texts.settled_until
        text = self._texts.answer()
        if text and heard >= self._best[1]:
            self._best = (text, heard)

    def _answer(self, trigger: Trigger | None = None, *, with_open: bool = True) -> None:
        trigger = trigger or self._source.ended or Trigger.AUDIO_STOP
        text = self._texts.answer(with_open=with_open)
        missing = self._texts.gaps
        if trigger in (Trigger.DAILY_LIMIT, Trigger.NO_AUDIO):
            missing += self._source.cut / self._rate
        self._show(self._partials.finish(text))
        self._conclude(text, trigger, missing, None)

    def _give_up(self, error: EndpointError | None) -> None:
        """Rule 13: what was understood, and how much is missing."""
        stream = self._stream
        error = error or ConnectionLost("the connection to Flux was lost")
        if stream is not None:
            self._remember_best(stream)
            self._attempts.note(stream.endpoint, error)
        text, heard = self._best
        # Nobody knows what would have followed: never nothing.
        missing = max((self._source.last - heard) / self._rate, rules.COVERED)
        self._conclude(text, self._source.ended or Trigger.CONNECTION_LOST, missing, error)

    def _conclude(
        self, text: str, trigger: Trigger, missing: float, error: WyomingFluxError | None
    ) -> None:
        stream, self._stream = self._stream, None
        endpoint = stream.endpoint if stream is not None else None
        faults = tuple(self._attempts.faults)
        self._events.append(Answer(text, trigger, missing, endpoint, faults, error))
        self._attempts.drop()
        if stream is not None:
            provable = error is None and stream.told and stream.control is None
            prove = stream.facts.candidate if provable else None
            self._events.append(Drop(stream.attempt, prove, stream.sent / self._rate))
        self.answered = True
        self._source.tape.clear()
