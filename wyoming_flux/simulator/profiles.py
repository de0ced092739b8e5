"""What differs between Deepgram's own Flux and the build that Cloudflare hosts.

Source: protocol reference, sections 1.1, 2, 4 and 9.1.
"""

from dataclasses import dataclass
from typing import Final, Literal

ProfileName = Literal["workers-ai", "deepgram"]

NO_CODE: Final = 1005
"""A close frame without a code; what Flux sends after ``CloseStream``."""
ABORTED: Final = 1006
"""TCP closed without a close frame; never sent, only seen."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What one deployment of Flux knows and how it ends."""

    name: ProfileName
    controls: tuple[str, ...]
    """Types of text messages it takes; any other is fatal."""
    trigger: bool
    """Whether ``EndOfTurn`` says what ended the turn."""
    word_times: bool
    """Whether words carry ``start`` and ``end``."""
    models: tuple[str, ...]
    """Models that may be asked for; empty: there is only one and it is not named."""
    eot_threshold_limit: float
    """Largest ``eot_threshold``."""
    idle_timeout: float | None
    """Seconds without data after which the connection is dropped with TCP alone."""
    close_code: int
    """What the client sees after ``CloseStream``: :data:`NO_CODE` or :data:`ABORTED`."""
    request_id_header: str
    """Response header with the request id."""


WORKERS_AI: Final = Profile(
    name="workers-ai",
    controls=("CloseStream", "Configure"),
    trigger=False,
    word_times=False,
    models=(),
    eot_threshold_limit=0.9,
    idle_timeout=10.0,
    close_code=ABORTED,
    request_id_header="cf-ai-req-id",
)
DEEPGRAM: Final = Profile(
    name="deepgram",
    controls=("CloseStream", "ForceEndTurn", "Configure"),
    trigger=True,
    word_times=True,
    models=("flux-general-en", "flux-general-multi"),
    eot_threshold_limit=1.0,
    idle_timeout=None,
    close_code=NO_CODE,
    request_id_header="dg-request-id",
)
PROFILES: Final[dict[ProfileName, Profile]] = {one.name: one for one in (WORKERS_AI, DEEPGRAM)}
