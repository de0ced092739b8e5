"""The numbers of the rules in ``docs/turns.md``: seconds of audio or of time, unless it is said."""

from typing import Final

FRAME: Final = 0.08
"""Frames: audio in one, as Deepgram recommends (docs/flux/quickstart)."""
FRAME_IN_TEXT: Final = 0.02
"""Frames: audio in one, once there is text and the turn may end at any moment."""
MAX_UNSENT: Final = 30.0
"""Bounds: un-sent audio at which the client has to wait."""
MAX_UNHEARD: Final = 30.0
"""Bounds: audio that may be sent ahead of what was heard; it is kept for a replay."""

BEAT: Final = 0.2
"""t: the latest that :meth:`Machine.tick` is due after the last one."""
STEP: Final = 0.25
"""t: the most by which one input moves the machine's time."""

OWED: Final = 0.5
"""Rules 1 and 5: owing more, Flux has reason to speak, and the client none to be called silent."""
PROGRESS: Final = 0.25
"""Words: heard further by this."""
SILENT_BEFORE_TEXT: Final = 5.0
"""Rule 1: silence of the client before any text."""
SILENT: Final = 3.0
"""Rule 1: after text, so much more than its longest gap."""
SILENT_MOST: Final = 6.0
"""Rule 1: and never more than this."""

AHEAD: Final = 0.5
"""Rule 2: silence that is kept ahead of what was heard while draining."""
MAX_SILENCE: Final = 8.0
"""Rule 2: silence in all."""
STILL: Final = 0.3
"""Rule 2: heard stands still for this long, and the distance is lag."""
STILL_ENDS: Final = 1.5
"""Rule 2: heard covers the audio and stands still for this long: the answer."""
COVERED: Final = 0.1
"""Rule 2: what may be un-heard of the client's audio that counts as heard."""
BEYOND: Final = 1.0
"""Rule 2: heard so far beyond the end, and the text settled: the answer."""
SETTLED: Final = 0.5
"""Rule 2: heard audio over which the text has to stand still for that."""

CLOSE_WITHIN: Final = 1.0
"""Rule 3: ``CloseStream`` goes out once no more than this is un-heard."""
CLOSE_SILENCE: Final = 0.3
"""Rule 3: silence in front of it."""
FORCE_BEYOND: Final = 0.1
"""Rule 3: ``ForceEndTurn`` goes out once so much beyond the end was heard."""
FLUSHED: Final = (1000, 1005, 1006)
"""Rule 3: codes of a close that follows ``CloseStream`` (reference: flux-protocol, 2.2)."""

BLIND_INFOS: Final = 8
"""Rule 4: so many messages, for as long as a stall, whose window ends hardly moved (a number)."""
BLIND_UNHEARD: Final = 1.0
"""Rule 4: with more than this un-heard."""
BLIND_MOVED: Final = 0.5
"""Rule 4: moved by less than this."""
BLIND_PAUSE: Final = 1.0
"""Rule 4: a pause of messages after which all is heard."""
INGEST: Final = 1.25
"""Rule 4: how much faster than real time Flux takes audio (reference: flux-protocol, 4)."""

STALL: Final = 2.5
"""Rule 5: owing without progress."""
FIRST_MESSAGE: Final = 4.0
"""Rule 5: the same before the first message."""
STALL_WITH_NEXT: Final = 1.5
"""Rule 5: owing without progress where another endpoint waits."""
FIRST_MESSAGE_WITH_NEXT: Final = 2.5
"""Rule 5: the same before the first message."""

WHOLE_BEYOND: Final = 0.5
"""Rule 6: heard so far beyond the client's end, the text is whole."""
REPLAY_BEFORE_WORD: Final = 0.5
"""Rule 6: a replay begins so long before the open turn's first word."""
REPLAY_BEFORE_TEXT: Final = 1.5
"""Rule 6: or so long before the last place without text."""
REPLAY_BLIND: Final = 0.3
"""Rule 6: without window ends, so long before the estimated end of the last finished turn."""
REPEATS_FROM: Final = 0.3
"""Rule 6: a lag from which on the next stream may hear a finished turn's end again."""
LAG_BLIND: Final = 1.5
"""Rule 6: the lag that is taken for granted without window ends."""
LONG_TURN: Final = 30.0
"""Rule 6: an open turn with more text than this is not heard again whole."""
LONG_SOON: Final = 8.0
"""Rule 6: the same where somebody waits, or where hearing it again has just failed."""
FREEZE: Final = 3.0
"""Rule 6: its text of so long ago stays, because the end of a text is revised most."""
REPLAY_LONG: Final = 6.0
"""Rule 6: its replay begins so long ago: text trails speech by 0.6 s, some words must overlap."""
KEPT_BEFORE: Final = 5.0
"""Rule 6: audio kept before the place of a replay: a first word may turn out to be older."""

BUDGET: Final = 8.0
"""Rule 7: what one fault may cost."""
OPENED_GETS: Final = 1.5
"""Rule 7: what a stream that opened gets in any case."""
BACK_OFF: Final = (0.2, 0.5, 1.0)
"""Rule 7: pauses between attempts that failed."""
MAX_LOSSES: Final = 2
"""Rule 7: lost streams of one fault that are replaced (a number)."""
FRESH: Final = 5.0
"""Rule 7: audio that no stream had heard before, after which a fault is another one."""
BESIDE: Final = 4.0
"""Rule 7: without ``opened``, a second attempt is made beside the first."""

TWIN_NO_SPEECH: Final = 4.0
"""Rule 8: ``no_speech_timeout`` by the clock is longer by this."""
TWIN_MAX_TURN: Final = 8.0
"""Rule 8: ``max_turn`` by the clock is longer by this."""
END_BY: Final = (1.25, 12.0)
"""Rule 8: after the client's end, so much for each second owed, and so much besides."""

WAKE_PHRASE_WITHIN: Final = 1.5
"""Rule 9: from the start of the utterance; a later phrase is speech."""
LATE_END: Final = 0.25
"""Rule 9: an ``EndOfTurn`` may come so long after a message of the next turn."""

BESIDE_NEXT: Final = 1.5
"""Rule 13: without ``opened``, the next endpoint is asked beside the first."""
LAST_GETS: Final = 5.0
"""Rule 13: what every endpoint after the first gets, whatever the others took."""
THINKS: Final = 6.0
"""Rule 14: what one whose text trails may need for it, without a word: ten seconds of speech take
the ear of this machine 0.8 s; a small, or busy, computer is some times slower."""
ENGINE: Final = 20.0
"""Rule 14: what an endpoint without partial text may think after the audio."""
