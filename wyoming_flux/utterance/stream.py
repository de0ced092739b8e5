"""One WebSocket as an utterance sees it: what was sent on it, and how far it was heard.

Replaced whole when it is lost. Places on a stream are samples from its first audio, silence
included; silence only ever follows the client's last sample. The rules are 2, 3 and 4 of
``docs/turns.md``.
"""

from wyoming_flux.flux.learnt import Facts
from wyoming_flux.flux.messages import CLOSE_STREAM, FORCE_END_TURN

from . import rules
from .source import Source
from .tape import WIDTH


class Stream:
    """The stream of one attempt; ``t`` is the machine's time."""

    def __init__(
        self, attempt: int, endpoint: int, facts: Facts, source: Source, *, start: int, t: float
    ) -> None:
        """Begin at *start* of what *source* says."""
        self.attempt = attempt
        self.endpoint = endpoint
        self.facts = facts
        self.start = start
        self.cursor = start
        """Place in the utterance of the client audio that is sent next."""
        self.sent = 0
        self.frames = 0
        """Frames and control messages that were sent."""
        self.heard = 0
        """The furthest window end, never more than was sent."""
        self.heard_at = t
        """When that moved last."""
        self.lag: int | None = None
        """The smallest distance of both."""
        self.blind = not facts.windows
        """Whether window ends cannot be used; then *heard* is an estimate."""
        self.told = False
        """Whether it told of a turn."""
        self.garbage = False
        """Whether it said what is no message of Flux."""
        self.progressed = False
        self._owes_since: float | None = None
        self.changed_heard = 0
        """Where the text changed last."""
        self.ended_heard = -1
        """Where the last turn with text ended."""
        self.control: str | None = None
        """The control message that was sent."""
        self._source = source
        self._rate = source.rate
        self._frame = self._n(rules.FRAME)
        self._late_frame = self._n(rules.FRAME_IN_TEXT)
        self._most_unheard = self._n(rules.MAX_UNHEARD)
        self._client_sent_at = t
        self._progress_heard = 0
        self._first_audio_at: float | None = None
        self._told_at = t
        self._moved = 0
        self._stands_since = t
        self._infos = 0
        self._behind = 0
        self._stood_at = t
        self._still_heard = 0

    def place(self, at: int) -> int:
        """Return the place in the utterance of a place on this stream."""
        return self.start + min(at, self.cursor - self.start)

    @property
    def end(self) -> int:
        """Where the client's audio ends on this stream, or ends by now."""
        return self._source.last - self.start

    @property
    def unheard(self) -> int:
        """Audio that was sent and not heard."""
        return self.sent - self.heard

    @property
    def owed(self) -> int:
        """Audio that it should have heard by now."""
        return self._source.last - self.place(self.heard) - (self.lag or 0)

    @property
    def draining(self) -> bool:
        """Whether the client has ended, and all of its audio was sent."""
        return self._source.ended is not None and self.cursor >= self._source.last

    @property
    def seam_lag(self) -> int:
        """How late it tells of an end; while its window ends stand at 0, all that is un-heard."""
        return self.unheard if self.lag is None else self.lag

    # --- sending ---------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether there may be something to send, although no audio comes."""
        source = self._source
        return source.ended is not None or source.last - self.cursor >= self._late_frame

    def next_to_send(self, t: float, *, in_text: bool) -> bytes | str | None:
        """Return the next frame, shorter *in_text*, or control message; None: not now."""
        if self.control == CLOSE_STREAM or self.sent - self.heard >= self._most_unheard:
            return None
        source = self._source
        size = min(source.last - self.cursor, self._frame)
        if source.ended is None and size < self._frame:
            if not in_text or size < self._late_frame:
                return None
            size = self._late_frame
        if size > 0:
            frame = source.tape.read(self.cursor, size)
            self.cursor += size
            self._client_sent_at = t
        elif not self.draining:
            return None
        elif (control := self._next_control()) is not None:
            self.control = control
            self.frames += 1
            return control
        elif not (frame := self._next_silence()):
            return None
        if self._first_audio_at is None:
            self._first_audio_at = t
        self.sent += len(frame) // WIDTH
        self.frames += 1
        return frame

    def _next_control(self) -> str | None:
        """Return the control message that is due: only what is proven here, and never two."""
        control = self.facts.control
        if control is None or self.control is not None or not self.told:
            return None
        if control == FORCE_END_TURN:
            # It takes the last text as it is: with a backlog it would cut a word.
            return control if self.heard - self.end >= self._n(rules.FORCE_BEYOND) else None
        silence = self.sent - self.end
        return control if self._near and silence >= self._n(rules.CLOSE_SILENCE) else None

    def _next_silence(self) -> bytes:
        """Return silence: half a second ahead of what was heard, eight seconds in all."""
        wanted = self.heard + self._behind + self._n(rules.AHEAD) - self.sent
        if self.facts.control == CLOSE_STREAM and self.control is None and self._near:
            wanted = max(wanted, self.end + self._n(rules.CLOSE_SILENCE) - self.sent)
        most = min(self.end + self._n(rules.MAX_SILENCE) - self.sent, self._frame)
        size = min(wanted, most)
        return bytes(size * WIDTH) if size > 0 else b""

    @property
    def _near(self) -> bool:
        return self.unheard <= self._n(rules.CLOSE_WITHIN)

    # --- hearing ---------------------------------------------------------------------------

    def hear(self, window_end: float | None, t: float) -> None:
        """Take a turn message's window end in seconds."""
        self.told = True
        self._told_at = t
        self.blind = self.blind or window_end is None
        if self.blind or window_end is None:
            self._move(min(self.sent, self._n(self._streamed(t))), t)
        else:
            self._move(min(round(window_end * self._rate), self.sent), t)
            self._watch_windows(t)
        if self.heard:
            # Not before: a window end that lags stands at 0 for a while.
            self.lag = self.unheard if self.lag is None else min(self.lag, self.unheard)

    def talks(self, t: float, *, since: float = 0.0) -> bool:
        """Whether messages have come for so long, and window ends do not move with them."""
        lately = t - self._told_at < rules.BLIND_PAUSE
        many = self._infos >= rules.BLIND_INFOS and t - self._stands_since >= since
        return lately and many and not self.blind

    def go_blind(self, t: float) -> None:
        """Estimate by time, from now on, how far it hears."""
        self.blind = True
        self._owes_since = None
        self._move(min(self.sent, self._n(self._streamed(t))), t)

    def account(self, t: float) -> bool:
        """Take note, and return, whether more than half a second is owed; draining, anything."""
        owes = self.owed > self._n(rules.OWED) or (self.draining and not self.covers)
        if not owes:
            self._owes_since = None
        elif self._owes_since is None:
            self._owes_since = t
        return owes

    def owing(self, t: float) -> float:
        """Return for how long something has been owed without progress."""
        return 0.0 if self._owes_since is None else t - self._owes_since

    def progress(self, t: float) -> None:
        """Take note that it heard further, or understood more."""
        self._progress_heard = self.heard
        self.progressed = True
        self._owes_since = None

    def _streamed(self, t: float) -> float:
        """Seconds since the first audio."""
        return 0.0 if self._first_audio_at is None else t - self._first_audio_at

    def _watch_windows(self, t: float) -> None:
        """Rule 4: count messages whose windows do not move while much is un-heard."""
        moved = self.heard - self._moved >= self._n(rules.BLIND_MOVED)
        if moved or self.unheard <= self._n(rules.BLIND_UNHEARD):
            self._moved, self._infos = self.heard, 0
        else:
            if not self._infos:
                self._stands_since = t
            self._infos += 1

    def _move(self, heard: int, t: float) -> None:
        if heard <= self.heard:
            return
        self.heard = heard
        if heard - self._still_heard >= self._n(rules.FRAME):
            # Less is no movement: window ends may creep.
            self._still_heard = heard
            self.heard_at = t
        if heard - self._progress_heard >= self._n(rules.PROGRESS):
            self.progress(t)

    # --- draining --------------------------------------------------------------------------

    def stand(self, t: float) -> float:
        """Return for how long *heard* has stood still; a standstill shows the lag."""
        since = max(self.heard_at, self._client_sent_at, self._source.ended_at)
        if t - max(since, self._stood_at) >= rules.STILL:
            self._stood_at = t
            self._behind = max(self._behind, self.unheard)
        return t - since

    def exhausted(self, t: float) -> bool:
        """Whether a stream without window ends had time to hear all, and has no more to say."""
        quiet = t - self._told_at >= rules.BLIND_PAUSE
        return quiet and self._streamed(t) * self._rate >= self.sent / rules.INGEST

    @property
    def covers(self) -> bool:
        """Whether all of the client's audio was heard."""
        return self.told and self.heard >= self.end - self._n(rules.COVERED)

    def drained(self, *, finished: bool) -> bool:
        """Whether all was heard, and the text stands; *finished*: no turn goes on."""
        if not (self.draining and self.told and self.facts.partial):
            return False
        covered = self.ended_heard >= self.end - self._n(rules.COVERED)
        beyond = self.heard - self.end >= self._n(rules.BEYOND)
        settled = self.heard - self.changed_heard >= self._n(rules.SETTLED)
        return (finished and covered) or (beyond and settled and not self.control)

    def _n(self, seconds: float) -> int:
        return int(seconds * self._rate)
