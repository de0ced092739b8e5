"""The numbers of the rules in ``docs/turns.md``: seconds of audio or of time, unless it is said."""

from typing import Final

FRAME: Final = 0.08
"""Audio in one frame, as Deepgram recommends (docs/flux/quickstart)."""
FRAME_IN_TEXT: Final = 0.02
"""Audio in one frame once there is text and the turn may end at any moment."""
BEAT: Final = 0.2
"""The latest that :meth:`Machine.tick` is due after an input."""
STEP: Final = 0.25
"""The most by which one input moves the machine's time."""
MAX_UNSENT: Final = 30.0
"""Un-sent audio at which the client has to wait."""
MAX_UNHEARD: Final = 30.0
"""Audio that may be sent ahead of what was heard: it is kept for a replay."""

OWED: Final = 0.5
"""More than this is owed: Flux has reason to speak, and the client none to be called silent."""
PROGRESS: Final = 0.25
"""Heard further by this: progress."""
SILENT_BEFORE_TEXT: Final = 5.0
SILENT: Final = 3.0
SILENT_MOST: Final = 6.0
"""Silence of the client after text: so much more than its longest gap, and never more than that."""
STALL: Final = 2.5
FIRST_MESSAGE: Final = 4.0
"""Owing without progress: a stall; the same before the first message."""
STALL_WITH_NEXT: Final = 1.5
FIRST_MESSAGE_WITH_NEXT: Final = 2.5
"""The same where another endpoint waits."""

AHEAD: Final = 0.5
"""Silence that is kept ahead of what was heard while draining."""
MAX_SILENCE: Final = 8.0
STILL: Final = 0.3
"""Draining, and heard stands still for this long: the distance is lag."""
STILL_ENDS: Final = 1.5
COVERED: Final = 0.1
"""What may be un-heard of the client's audio that counts as heard."""
BEYOND: Final = 1.0
SETTLED: Final = 0.5
"""Heard so far beyond the end, and the text unchanged for so much heard audio: the answer."""
CLOSE_WITHIN: Final = 1.0
CLOSE_SILENCE: Final = 0.3
FORCE_BEYOND: Final = 0.1
FLUSHED: Final = (1000, 1005, 1006)
"""Codes of a close that follows ``CloseStream`` (reference: flux-protocol, 2.2)."""

BLIND_INFOS: Final = 8
"""So many messages whose window ends moved less than half a second, instead of a stall."""
BLIND_UNHEARD: Final = 1.0
BLIND_MOVED: Final = 0.5
BLIND_PAUSE: Final = 1.0
INGEST: Final = 1.25
"""How much faster than real time Flux takes audio (reference: flux-protocol, 4)."""

WHOLE_BEYOND: Final = 0.5
REPLAY_BEFORE_WORD: Final = 0.5
REPLAY_BEFORE_TEXT: Final = 1.5
REPLAY_BLIND: Final = 0.3
REPEATS_FROM: Final = 0.3
LAG_BLIND: Final = 1.5
"""A lag from which on the next stream may hear a finished turn's end again; without windows."""
LONG_TURN: Final = 30.0
"""An open turn with more text than this is not heard again whole."""
FREEZE: Final = 3.0
"""Its text of so long ago stays: the end of a text is revised most."""
REPLAY_LONG: Final = 6.0
"""Its replay begins so long ago: text trails speech by 0.6 s, and some words must overlap."""
KEPT_BEFORE: Final = 5.0
"""Audio that is kept before the place of a replay: a first word may turn out to be older."""

BUDGET: Final = 8.0
OPENED_GETS: Final = 1.5
LAST_GETS: Final = 5.0
BACK_OFF: Final = (0.2, 0.5, 1.0)
MAX_LOSSES: Final = 2
"""Lost streams of one fault that are replaced (a number)."""
FRESH: Final = 5.0
"""Audio that no stream had heard before, after which a fault is another one."""
BESIDE: Final = 4.0
"""Without ``opened``: a second attempt beside the first."""
BESIDE_NEXT: Final = 1.5
"""The same where another endpoint waits."""

TWIN_NO_SPEECH: Final = 4.0
TWIN_MAX_TURN: Final = 8.0
END_BY: Final = (1.25, 12.0)
"""After the client's end: so much for each second owed, and so much besides."""

ENGINE: Final = 20.0
"""What an endpoint without partial text may think after the audio: nothing else tells of it."""

WAKE_PHRASE_WITHIN: Final = 1.5
"""From the start of the utterance; a later phrase is speech."""
LATE_END: Final = 0.25
"""An ``EndOfTurn`` may come so long after a message of the next turn."""
