"""Decides when an utterance is over, and with which text: a pure state machine.

Messages, audio and time go in, decisions come out; no I/O, and no clock but the ``now`` (seconds,
monotonic) that every call brings along. The rules are the table in ``docs/turns.md``; its names
are used here: *sent* and *heard* are seconds of audio on the current socket, ``now`` is wall time.
"""

from collections.abc import Callable, Iterator
from enum import Enum, auto
from functools import partial

from wyoming_flux.errors import (
    ConnectionLost,
    FluxTimeout,
    NotFlux,
    WyomingFluxError,
)
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
from wyoming_flux.settings import UtteranceSettings

from . import rules
from .decision import Connect, Decision, Finish, SendControl, SendSilence, Show, StopForwarding
from .link import Link, LinkState
from .outcome import Transcript, Trigger
from .text import Partials, Texts
from .timeline import Timeline

_Timer = Callable[[float], list[Decision]]


class _Final(Enum):
    """Steps of finalising on one socket."""

    FLUSHING = auto()
    SILENCE_SENT = auto()
    CLOSING = auto()


class Tracker:
    """One utterance. Every method returns the decisions that follow, in order.

    After :class:`Finish` all input is ignored.
    """

    def __init__(self, settings: UtteranceSettings, *, force_end_turn: bool) -> None:
        """Prepare; ``force_end_turn``: whether the route knows it."""
        self._settings = settings
        self._force_end_turn = force_end_turn
        self._texts = Texts(settings.wake_phrases)
        self._partials = Partials()
        self._timeline = Timeline()
        self._link = Link()
        self._done = False

        self._pending = 0.0
        self._queued_any = False
        self._client_ended = False
        self._audio_at = 0.0
        self._silence_at = 0.0

        self._trigger: Trigger | None = None
        self._final = _Final.FLUSHING
        self._best = ("", 0.0)

    # --- what the transcriber asks ---------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether the outcome was decided."""
        return self._done

    @property
    def keep_from(self) -> float:
        """Place in the utterance before which audio will never be replayed."""
        return self._replay_from()

    @property
    def in_text(self) -> bool:
        """Whether there is text, so that the turn may end at any moment."""
        return self._texts.any

    @property
    def unheard(self) -> float:
        """Audio in seconds that was sent on this socket and not yet heard."""
        return self._timeline.behind

    @property
    def deadline(self) -> float | None:
        """When :meth:`tick` must be called at the latest; None when the turn is over."""
        if self._done:
            return None
        return min((due for due, _ in self._timers()), default=None)

    # --- what happens ----------------------------------------------------------------------

    def start(self, now: float) -> list[Decision]:
        """Begin the turn."""
        self._link.start(now)
        self._audio_at = now
        return [Connect(0.0)]

    def queued(self, now: float, pending: float) -> None:
        """Learn that client audio arrived; ``pending`` seconds are un-sent now."""
        self._audio_at = now
        self._queued_any = True
        self._pending = pending

    def ended(self, now: float, pending: float) -> list[Decision]:
        """Learn that the client ended the audio; ``pending`` seconds are un-sent."""
        if self._done or self._client_ended:
            return []
        self._client_ended = True
        self._pending = pending
        if not self._queued_any:
            return self._finish(Transcript("", Trigger.AUDIO_STOP))
        settled = "" if self._texts.open else self._texts.answer()
        if settled and self._link.open and pending <= 0 and self._covered():
            return self._finish(Transcript(settled, Trigger.AUDIO_STOP))
        if self._trigger is None:
            self._trigger = Trigger.AUDIO_STOP
            self._link.advanced_at = now
        return self._step(now)

    def rewound(self, pending: float) -> None:
        """Learn that a connection begins with ``pending`` seconds to send, replay included."""
        self._pending = pending

    def opened(self, now: float) -> list[Decision]:
        """Learn that the connection is open."""
        if self._done or self._link.state is not LinkState.CONNECTING:
            return []
        self._link.opened(now)
        return self._step(now)

    def failed(self, now: float, error: WyomingFluxError) -> list[Decision]:
        """Learn that an attempt to connect failed."""
        if self._done or self._link.state is not LinkState.CONNECTING:
            return []
        return [] if self._link.failed(now, error) else self._give_up()

    def sent(self, now: float, seconds: float, pending: float) -> list[Decision]:
        """Learn that a frame of client audio was sent; ``pending`` seconds are un-sent."""
        if self._done:
            return []
        self._timeline.send_audio(seconds)
        if self._pending >= rules.FRAME > pending:
            # A client whose audio we were slow to send has not been silent meanwhile.
            self._audio_at = now
        self._pending = pending
        return self._after_sending(now)

    def silence_sent(self, now: float, seconds: float) -> list[Decision]:
        """Learn that silence was sent."""
        if self._done:
            return []
        self._timeline.send_silence(seconds)
        return self._after_sending(now)

    def received(self, now: float, message: Message) -> list[Decision]:
        """Learn what Flux says."""
        if self._done or not self._link.open:
            return []
        if isinstance(message, Garbage):
            self._link.garbage = True
            return []
        self._link.alive(now)
        match message:
            case TurnInfo():
                return self._turn_info(now, message)
            case FluxWarning(code=code) if code == NO_ACTIVE_TURN:
                if self._trigger is not None and self._covered():
                    return self._answer(self._trigger)
                return []
            case FluxFault():
                text = f"{message.code}: {message.description}".strip(": ")[:200]
                return self.lost(now, ConnectionLost(f"Flux reported a fault: {text}"))
            case _:
                return []

    def lost(self, now: float, error: WyomingFluxError) -> list[Decision]:
        """Learn that the connection broke."""
        if self._done or not self._link.open:
            return []
        closed = self._final is _Final.CLOSING and self._is_heard
        if self._trigger is not None and (closed or self._trigger is not Trigger.AUDIO_STOP):
            return self._answer(self._trigger)
        if self._texts.any and self._text_is_whole():
            return self._answer(self._trigger or Trigger.CONNECTION_LOST)
        return [self._reconnect()] if self._link.lost(now, error) else self._give_up()

    def tick(self, now: float) -> list[Decision]:
        """Do what is due by now."""
        decisions: list[Decision] = []
        while not self._done:
            due, timer = min(self._timers(), key=lambda one: one[0], default=(now + 1, None))
            if timer is None or due > now:
                break
            decisions += timer(now)
        return decisions

    # --- timers: what is due when ----------------------------------------------------------

    def _timers(self) -> Iterator[tuple[float, _Timer]]:
        link = self._link
        if link.open:
            if (stalls_at := link.stalls_at) is not None:
                yield stalls_at, self._stalled
            if self._pending >= rules.FRAME or (self._trigger is not None and self._pending > 0):
                yield link.blocked_at, self._stalled
            elif self._trigger is not None:
                first = min(rules.FIRST_MESSAGE, link.patience)
                wait = rules.FINAL_WAIT if link.spoke else first
                yield link.advanced_at + wait, partial(self._stuck, self._trigger)
        else:
            yield link.out_of_time, self._out_of_time
            if link.state is LinkState.WAITING:
                yield link.retry_at, self._retry
        if self._trigger is None and self._pending < rules.FRAME:
            if not self._texts.any:
                yield self._audio_at + rules.NO_AUDIO_BEFORE_TEXT, self._no_audio
            elif link.open:
                yield max(self._audio_at + rules.GAP, self._silence_at), self._feed_silence
                yield self._audio_at + rules.GAP_ENDS, self._no_audio

    def _stalled(self, now: float) -> list[Decision]:
        self._link.stalled(now)
        if self._link.garbage and not self._link.spoke:
            return self.lost(now, NotFlux("what answers there does not send Flux messages"))
        return self.lost(now, FluxTimeout("Flux stopped answering in the middle of a turn"))

    def _stuck(self, trigger: Trigger, now: float) -> list[Decision]:
        return self._answer(trigger) if self._is_heard else self._stalled(now)

    def _out_of_time(self, _: float) -> list[Decision]:
        if self._link.error is None:
            self._link.error = FluxTimeout("Flux could not be reached in time")
        return self._give_up()

    def _retry(self, _: float) -> list[Decision]:
        self._link.state = LinkState.CONNECTING
        return [Connect(self._timeline.start)]

    def _no_audio(self, now: float) -> list[Decision]:
        if not self._texts.any:
            return self._answer(Trigger.NO_AUDIO)
        return self._finalise(now, Trigger.NO_AUDIO)

    def _feed_silence(self, now: float) -> list[Decision]:
        self._silence_at = max(now, self._audio_at + rules.GAP) + rules.FRAME
        return [SendSilence(rules.FRAME)]

    # --- rules -----------------------------------------------------------------------------

    def _turn_info(self, now: float, info: TurnInfo) -> list[Decision]:
        line = self._timeline
        further = line.hear(info.audio_window_end)
        self._link.heard(now, line.behind, further=further)
        if further and line.client_behind > rules.BEHIND:
            # A client whose audio Flux is slow to hear has not been silent meanwhile.
            self._audio_at = now
        word_at = info.first_word_start
        finished = self._texts.add(
            info,
            line.heard_in_utterance,
            None if word_at is None else line.in_utterance(word_at),
        )
        decisions: list[Decision] = []
        if shown := self._partials.update(self._texts.preview()):
            decisions.append(Show(shown))
        if finished and (ending := self._end_of_turn()):
            return decisions + ending
        return decisions + (self._limits(now) or self._step(now))

    def _end_of_turn(self) -> list[Decision]:
        early = not self._client_ended and self._settings.answer_on == "end-of-turn"
        if early and self._texts.answer():
            return self._answer(Trigger.END_OF_TURN)
        if self._trigger is not None and self._pending <= 0 and self._covered():
            return self._answer(self._trigger)
        return []

    def _limits(self, now: float) -> list[Decision]:
        """``no_speech_timeout`` and ``max_turn``: an assistant's limits, while the client sends."""
        if self._trigger is not None or self._settings.answer_on != "end-of-turn":
            return []
        heard = self._timeline.heard_in_utterance
        if not self._texts.any:
            # A replay begins in the middle: nothing can have been said before it there.
            since = max(self._texts.settled_until, self._timeline.start)
            if heard - since >= self._settings.no_speech_timeout:
                return self._answer(Trigger.NO_SPEECH)
            return []
        first = self._texts.first_text_at
        if first is not None and heard - first >= self._settings.max_turn:
            return self._finalise(now, Trigger.MAX_TURN)
        return []

    def _finalise(self, now: float, trigger: Trigger) -> list[Decision]:
        self._trigger = trigger
        self._pending = 0.0
        self._link.advanced_at = now
        return [StopForwarding(), *self._step(now)]

    def _after_sending(self, now: float) -> list[Decision]:
        self._link.sent(now, self._timeline.behind)
        return self._step(now)

    def _step(self, now: float) -> list[Decision]:
        """Go on with finalising: flush, silence, and as soon as Flux keeps up, the end."""
        if self._trigger is None or not self._link.open or self._pending > 0:
            return []
        if self._final is _Final.FLUSHING:
            self._final = _Final.SILENCE_SENT
            self._link.advanced_at = now
            return [SendSilence(rules.FINAL_SILENCE)]
        line = self._timeline
        silence_is_out = line.sent - line.client_end >= rules.FINAL_SILENCE - 1e-6
        if (
            self._final is _Final.SILENCE_SENT
            and silence_is_out
            and line.behind <= rules.CLOSE_WHEN_BEHIND
        ):
            self._final = _Final.CLOSING
            # ForceEndTurn takes the last text as it is: with a backlog it would cut a word.
            force: list[Decision] = [SendControl(FORCE_END_TURN)] if self._force_end_turn else []
            return [*force, SendControl(CLOSE_STREAM)]
        return []

    def _covered(self) -> bool:
        line = self._timeline
        return line.heard >= line.client_end - rules.COVERS

    @property
    def _is_heard(self) -> bool:
        """Whether silence or a close is all that Flux has to say to the end of the audio."""
        # Flux that leaves out the end once more is believed: it may not tell how far it heard.
        again = self._final is _Final.CLOSING and self._link.replaced
        # Without any text, the last word may be all that was said.
        most = rules.BEHIND if self._texts.any else rules.COVERS
        return self._link.spoke and (again or self._timeline.client_behind <= most)

    def _text_is_whole(self) -> bool:
        line = self._timeline
        if self._client_ended:
            return self._pending <= 0 and line.client_behind <= rules.BEHIND
        still = line.heard_in_utterance - self._texts.changed_at
        return self._settings.answer_on == "end-of-turn" and still >= rules.STOOD_STILL

    def _replay_from(self) -> float:
        heard = self._timeline.heard_in_utterance
        if self._open_is_long:
            begin = heard
        else:
            open_at = self._texts.open_text_at
            begin = (heard if open_at is None else open_at) - rules.REPLAY_BEFORE
        return max(self._timeline.start, begin, self._texts.settled_until)

    @property
    def _open_is_long(self) -> bool:
        open_at = self._texts.open_text_at
        heard = self._timeline.heard_in_utterance
        return open_at is not None and heard - open_at > rules.LONGEST_REPLAY

    def _reconnect(self) -> Connect:
        self._remember_best()
        at = self._replay_from()
        self._texts.restart(keep_open=self._open_is_long)
        self._timeline.restart(at)
        self._final = _Final.FLUSHING
        return Connect(at)

    def _remember_best(self) -> None:
        text, heard = self._texts.answer(), self._timeline.heard_in_utterance
        if text and heard >= self._best[1]:
            self._best = (text, heard)

    def _give_up(self) -> list[Decision]:
        self._remember_best()
        if self._best[0]:
            return self._finish(Transcript(self._best[0], Trigger.CONNECTION_LOST))
        return self._finish(self._link.error or ConnectionLost("the connection to Flux was lost"))

    def _answer(self, trigger: Trigger) -> list[Decision]:
        self._remember_best()
        text = self._texts.answer()
        if not text or not (trigger is Trigger.END_OF_TURN or self._covered()):
            text = self._best[0]
        return self._finish(Transcript(text, trigger))

    def _finish(self, outcome: Transcript | WyomingFluxError) -> list[Decision]:
        self._done = True
        decisions: list[Decision] = []
        if isinstance(outcome, Transcript) and (rest := self._partials.finish(outcome.text)):
            decisions.append(Show(rest))
        return [*decisions, Finish(outcome)]
