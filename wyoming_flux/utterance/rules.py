"""The numbers of the turn table in ``docs/turns.md``; all in seconds unless said otherwise."""

from typing import Final

from wyoming_flux.audio import FRAME_MS

FRAME: Final = FRAME_MS / 1000
"""Audio in one frame, as Deepgram recommends (docs/flux/quickstart)."""
FRAME_IN_TEXT: Final = 0.02
"""Audio in one frame once there is text and the turn may end at any moment.

A part of :data:`FRAME`, so that Flux never has a whole one later than it would otherwise.
"""

NO_AUDIO_BEFORE_TEXT: Final = 5.0
"""Without client audio and without text, this long: nothing was said."""
GAP: Final = 1.0
"""Without client audio in the middle of a turn, this long: silence is fed, so that Flux goes on."""
GAP_ENDS: Final = 3.0
"""Without client audio in the middle of a turn, this long: the turn is finalised."""

BEHIND: Final = 0.5
"""Flux owes messages while more audio than this was sent and not heard."""
STALL: Final = 2.5
"""A connection that owes messages and sends none for this long is lost."""
FIRST_MESSAGE: Final = 4.0
"""The same before its first message."""
STOOD_STILL: Final = 0.75
"""Text that did not change for this much audio is whole enough when the connection is lost."""

FAULT_BUDGET: Final = 8.0
"""What all faults of one turn together may cost."""
LEAST_PATIENCE: Final = 1.0
"""Silence of Flux that is borne even when the budget is used up: a healthy stream pauses, too."""
BACK_OFF: Final = (0.2, 0.5, 1.0)
"""Pauses before the second, third and fourth attempt to connect."""
MAX_RECONNECTS: Final = 2
"""Lost connections of one turn that are replaced (a number)."""
REPLAY_BEFORE: Final = 1.5
"""A replay begins this long before the first text."""
LONGEST_REPLAY: Final = 30.0
"""A turn with more text than this is not heard again: its text is kept as it is."""

FINAL_SILENCE: Final = 0.3
"""Silence after the client's last audio, so that Flux hears the last word to its end."""
CLOSE_WHEN_BEHIND: Final = 1.0
"""``CloseStream`` is sent once no more than this is un-heard."""
FINAL_WAIT: Final = 1.5
"""Finalising ends when Flux hears nothing further for this long."""
COVERS: Final = 0.1
"""An end of turn covers the client's audio if no more than this is missing."""
