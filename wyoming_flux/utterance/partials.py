"""Words to show early: rule 12 of ``docs/turns.md``."""

from . import words


class Partials:
    """Words to show early: those on which two consecutive messages agree, only ever appended.

    All that is remembered is how many words were shown: where Flux revises one of them the
    transcript holds the truth, and words go on after it.
    """

    def __init__(self) -> None:
        """Begin with nothing shown."""
        self._shown = 0
        self._before = 0
        self._last: list[str] = []

    def update(self, text: str) -> str:
        """Return what can be appended now that the open turn's text is *text*; often nothing."""
        now = text.split()
        agreed = 0
        for old, new in zip(self._last, now, strict=False):
            if old != new and words.plain(old) != words.plain(new):
                break
            agreed += 1
        self._last = now
        return self._show(now[:agreed])

    def end_turn(self, text: str) -> str:
        """Return the rest of a turn that ended with *text*."""
        now = text.split()
        rest = self._show(now)
        self._before += len(now)
        self._last = []
        return rest

    def restart(self) -> None:
        """Go on with another stream, which hears the open turn again."""
        self._last = []

    def finish(self, text: str) -> str:
        """Return the rest of the whole answer."""
        self._before = 0
        return self._show(text.split())

    def _show(self, now: list[str]) -> str:
        known = max(0, self._shown - self._before)
        if len(now) <= known:
            return ""
        appended = " ".join(now[known:])
        if self._shown:
            appended = f" {appended}"
        self._shown = self._before + len(now)
        return appended
