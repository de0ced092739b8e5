"""How good were the early guesses at the end of a turn? Measured alone: they never end one."""

from wyoming_flux.flux.messages import TurnEvent

from . import words


class Guess:
    """Compares each ``EagerEndOfTurn`` of the last turn with the text that the turn ended with."""

    def __init__(self) -> None:
        """Begin without any."""
        self._turn: tuple[int, int] | None = None
        self._guesses: list[tuple[float, list[str]]] = []
        self._final: list[str] = []

    def hear(self, attempt: int, turn: int, event: str, text: str, now: float) -> None:
        """Take a message about a turn; *now* in seconds."""
        said = words.plain(text)
        if not said:
            return
        if (attempt, turn) != self._turn:
            self._turn = (attempt, turn)
            self._guesses.clear()
        self._final = said
        if event == TurnEvent.EAGER_END_OF_TURN:
            self._guesses.append((now, said))

    def earlier(self, answered: float) -> float | None:
        """Return how many seconds before the answer the final text was guessed; None: never."""
        right = (at for at, said in self._guesses if said == self._final)
        return next((answered - at for at in right), None)

    @property
    def wrong(self) -> bool:
        """Whether a guess had another text."""
        return any(said != self._final for _, said in self._guesses)
