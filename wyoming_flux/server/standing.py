"""How the endpoint stands: a fault is told once, as a warning with what to do, until it changes."""

import logging

from wyoming_flux.errors import ConnectionLost, EndpointError, WyomingFluxError
from wyoming_flux.flux import Endpoint, what_to_do

_LOGGER = logging.getLogger(__name__)


class Standing:
    """What was told last of one endpoint."""

    def __init__(self, name: str, endpoint: Endpoint | None) -> None:
        """Know nothing yet; without ``endpoint`` it is not Flux."""
        self.asked = False
        """Whether an utterance has gone there, and so will tell."""
        self._name = name if endpoint is None else f"Flux at {name}"
        self._endpoint = endpoint
        self._told: tuple[str, int | None, str | None] | None = None

    def failed(self, error: WyomingFluxError) -> bool:
        """Take note of a fault; return whether it is the endpoint's, and so needs no warning."""
        if not isinstance(error, EndpointError) or isinstance(error, ConnectionLost):
            # What breaks in the middle of a sentence costs that sentence alone.
            return False
        # Its sentence may hold numbers that differ each time.
        fault = (error.code, error.status, error.upstream_code)
        if fault != self._told:
            self._told = fault
            advice = what_to_do(error, self._endpoint) if self._endpoint is not None else None
            _LOGGER.warning(
                "No text from %s (%s): %s.%s (Said once, until it changes.)",
                self._name,
                error.code,
                str(error).rstrip("."),
                f" {advice}" if advice else "",
            )
        return True

    def works(self) -> None:
        """Take note that it has answered."""
        if self._told is not None:
            self._told = None
            _LOGGER.info("%s answers again", self._name)
