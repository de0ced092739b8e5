"""Flux's turn machine on audio time: audio in, messages out; no clock, no socket.

One :class:`SimulatedStream` belongs to one connection. Everything it says depends only on the audio
consumed and the order of the control messages, never on how the audio was cut into chunks.
Source: protocol reference, sections 2, 3 and 9.1.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from .parameters import MULTILINGUAL, InvalidParameter, StreamParameters, check
from .profiles import Profile
from .recognizer import FRAME_MS, Recognizer

Message = dict[str, Any]

UPDATE_FRAMES: Final = 250 // FRAME_MS
"""Flux says something about every 250 ms of audio."""
EAGER_FRAMES: Final = 160 // FRAME_MS
"""Silence after which an early end of turn is offered, where asked for."""


class UnparsableMessage(ValueError):
    """A control message that Flux cannot read; fatal."""


class SimulatedStream:
    """One connection's turns."""

    def __init__(
        self,
        parameters: StreamParameters,
        profile: Profile,
        recognizer: Recognizer,
        *,
        request_id: str,
    ) -> None:
        """Start before any audio."""
        self.parameters = parameters
        self._profile = profile
        self._recognizer = recognizer
        self._request_id = request_id
        self._end_frames = profile.end_of_turn_ms // FRAME_MS
        self._frame_bytes = 2 * parameters.sample_rate * FRAME_MS // 1000
        self._rest = bytearray()
        self._sequence_id = 0
        self._turn_index = 0
        self._frame = 0
        self._said_frame = 0
        self._turn_start = 0
        self._voice_start: int | None = None
        self._last_voiced: int | None = None
        self._text = ""
        self._in_turn = False
        self._eager = False

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio taken in."""
        return self._frame * FRAME_MS / 1000 + len(self._rest) / 2 / self.parameters.sample_rate

    def connected(self) -> Message:
        """Return the first message of a connection."""
        return self._message("Connected")

    def receive_audio(self, pcm: bytes) -> list[Message]:
        """Consume linear16 mono of any even length and return what Flux says to it."""
        self._rest += pcm
        size = self._frame_bytes
        whole = len(self._rest) // size * size
        taken = bytes(self._rest[:whole])
        del self._rest[:whole]
        said: list[Message] = []
        for start in range(0, whole, size):
            self._hear(taken[start : start + size], said)
        return said

    def force_end_turn(self) -> Message:
        """Answer ``ForceEndTurn``: the latest text as it stands, or a warning."""
        if not self._in_turn:
            return self._message(
                "Warning",
                code="FORCE_END_TURN_NO_ACTIVE_TURN",
                description="ForceEndTurn was ignored because there is no active turn.",
            )
        return self._end_turn("manual")

    def configure(self, message: Mapping[str, Any]) -> Message:
        """Answer ``Configure``; raises :class:`UnparsableMessage` for a wrong shape."""
        try:
            changed = _configured(self.parameters, message, self._profile)
        except InvalidParameter as error:
            names = {"keyterm": "INVALID_KEYTERM", "language_hint": "INVALID_LANGUAGE_HINT"}
            code = names.get(error.name, "INVALID_THRESHOLD")
            return self._message("ConfigureFailure", code=code, description=str(error))
        self.parameters = changed
        active = {name: getattr(changed, name) for name in _THRESHOLDS}
        fields: dict[str, Any] = {
            "thresholds": {name: value for name, value in active.items() if value is not None},
            "keyterms": list(changed.keyterms),
        }
        if changed.model == MULTILINGUAL:
            fields["language_hints"] = list(changed.language_hints)
        if self._profile.models:
            fields["numerals"] = changed.numerals
        return self._message("ConfigureSuccess", **fields)

    def finish(self) -> list[Message]:
        """Decode what is left and return the last Updates; never an ``EndOfTurn``."""
        self._recognizer.finish()
        said: list[Message] = []
        if self._rest or self._said_frame < self._frame or self._recognizer.text != self._text:
            self._update(said)
            if said[-1]["event"] != "Update":
                said.append(self._turn_info("Update"))
        for message in said:
            message["audio_window_end"] = round(self.audio_seconds, 4)
        return said

    def error(self, code: str, description: str) -> Message:
        """Return a fatal error, which carries no request id."""
        message = self._message("Error", code=code, description=description)
        del message["request_id"]
        return message

    def _hear(self, frame: bytes, said: list[Message]) -> None:
        self._frame += 1
        if self._recognizer.hear(frame):
            self._last_voiced = self._frame
            if self._voice_start is None:
                self._voice_start = self._frame - 1
            if self._eager:
                self._eager = False
                self._text = self._recognizer.text or self._text
                said.append(self._turn_info("TurnResumed"))
        elif self._last_voiced is not None:
            self._pause(self._frame - self._last_voiced, said)
        if self._frame - self._said_frame >= UPDATE_FRAMES:
            self._update(said)

    def _pause(self, silence: int, said: list[Message]) -> None:
        timeout = self.parameters.eot_timeout_ms // FRAME_MS
        if silence not in (EAGER_FRAMES, self._end_frames) and silence < timeout:
            return
        text = self._recognizer.text
        if not text:
            if silence >= self._end_frames:
                self._last_voiced = self._voice_start = None  # a noise: no turn began
            return
        confidence = self._recognizer.confidence
        ends = silence >= self._end_frames and confidence >= self.parameters.eot_threshold
        if not ends and silence < timeout:
            if self._is_eager(confidence):
                self._offer_end(text, said)
            return
        if not self._in_turn:
            self._start_turn(text, said)
        if self._eager and text != self._text:
            self._offer_end(text, said)
        self._text = text
        said.append(self._end_turn("model" if ends else "timeout"))

    def _is_eager(self, confidence: float) -> bool:
        threshold = self.parameters.eager_eot_threshold
        return threshold is not None and confidence >= threshold

    def _offer_end(self, text: str, said: list[Message]) -> None:
        if self._eager and text == self._text:
            return
        if not self._in_turn:
            self._start_turn(text, said)
        self._text = text
        if self._eager:
            said.append(self._turn_info("TurnResumed"))
        self._eager = True
        said.append(self._turn_info("EagerEndOfTurn"))

    def _update(self, said: list[Message]) -> None:
        text = self._recognizer.text
        if text and not self._in_turn:
            self._start_turn(text, said)
            return
        if self._eager and text != self._text:
            self._eager = False
            self._text = text
            said.append(self._turn_info("TurnResumed"))
            return
        self._text = text
        said.append(self._turn_info("Update"))

    def _start_turn(self, text: str, said: list[Message]) -> None:
        self._in_turn = True
        self._text = text
        said.append(self._turn_info("StartOfTurn"))

    def _end_turn(self, trigger: str) -> Message:
        message = self._turn_info("EndOfTurn")
        if self._profile.trigger:
            message["trigger"] = trigger
        self._turn_index += 1
        self._turn_start = self._frame
        self._voice_start = self._last_voiced = None
        self._text = ""
        self._in_turn = self._eager = False
        self._recognizer.end_turn()
        return message

    def _turn_info(self, event: str) -> Message:
        self._said_frame = self._frame
        return self._message(
            "TurnInfo",
            event=event,
            turn_index=self._turn_index,
            audio_window_start=self._turn_start * FRAME_MS / 1000,
            audio_window_end=self._frame * FRAME_MS / 1000,
            transcript=self._text,
            words=self._words(),
            end_of_turn_confidence=self._confidence(),
            **self._languages(),
        )

    def _languages(self) -> Message:
        """Return what the multilingual model says besides: the first hint is what it hears."""
        hints = self.parameters.language_hints
        said: Message = {}
        if self.parameters.model == MULTILINGUAL and self._text:
            said["languages"] = [hints[0].split("-")[0].lower() if hints else "en"]
        return {**said, "languages_hinted": list(hints)} if hints else said

    def _confidence(self) -> float:
        """Grow with the silence up to what the recognizer says at the end of turn."""
        if not self._text or self._last_voiced is None:
            return 0.001
        silence = min(1.0, (self._frame - self._last_voiced) / self._end_frames)
        return round(max(0.01, self._recognizer.confidence * silence), 4)

    def _words(self) -> list[Message]:
        """Return the words; their times are spread evenly over the voiced audio."""
        texts = self._text.split()
        if not self._profile.word_times:
            return [{"word": text, "confidence": 0.98} for text in texts]
        start = self._turn_start if self._voice_start is None else self._voice_start
        end = self._frame if self._last_voiced is None else self._last_voiced
        step = (end - start) * FRAME_MS / 1000 / max(1, len(texts))
        first = start * FRAME_MS / 1000
        return [
            {
                "word": text,
                "confidence": 0.98,
                "start": round(first + step * i, 3),
                "end": round(first + step * (i + 1), 3),
            }
            for i, text in enumerate(texts)
        ]

    def _message(self, kind: str, **fields: Any) -> Message:
        message = {
            "type": kind,
            "request_id": self._request_id,
            "sequence_id": self._sequence_id,
            **fields,
        }
        self._sequence_id += 1
        return message


def _configured(
    current: StreamParameters, message: Mapping[str, Any], profile: Profile
) -> StreamParameters:
    """Return the parameters after a ``Configure``: all of it, or none (an exception)."""
    known = {"type", "thresholds", "keyterms"}
    if profile.models:
        known |= {"language_hints", "numerals"}
    if unknown := set(message) - known:
        raise UnparsableMessage(f"unknown field `{min(unknown)}`")
    given = {name: value for name, value in message.items() if value is not None}
    changes: dict[str, Any] = {}
    if "thresholds" in given:
        changes.update(_thresholds(given["thresholds"]))
    for name in {"keyterms", "language_hints"} & set(given):
        several = [given[name]] if isinstance(given[name], str) else given[name]
        if not isinstance(several, list) or not all(isinstance(one, str) for one in several):
            raise UnparsableMessage(f"invalid type: `{name}` must be a list of strings")
        changes[name] = tuple(several)
    if "numerals" in given:
        if not isinstance(given["numerals"], bool):
            raise UnparsableMessage("invalid type: `numerals` must be a boolean")
        changes["numerals"] = given["numerals"]
    changed = dataclasses.replace(current, **changes)
    check(changed, profile)
    return changed


def _thresholds(thresholds: object) -> dict[str, Any]:
    if not isinstance(thresholds, dict):
        raise UnparsableMessage("invalid type: `thresholds` must be an object")
    if unknown := set(thresholds) - set(_THRESHOLDS):
        raise UnparsableMessage(f"unknown field `{min(unknown)}`")
    given = {name: value for name, value in thresholds.items() if value is not None}
    for name, value in given.items():
        if not isinstance(value, _THRESHOLDS[name]) or isinstance(value, bool):
            raise UnparsableMessage(f"invalid type: `{name}` must be a number")
    return given


_THRESHOLDS: Final[dict[str, tuple[type, ...]]] = {
    "eot_threshold": (int, float),
    "eager_eot_threshold": (int, float),
    "eot_timeout_ms": (int,),
}
