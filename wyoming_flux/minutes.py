"""How many minutes were sent to Flux today, and whether there may be more.

The port has no password and spends money, so what can be spent in a day has a limit. Counting knows
no file and no clock of its own: the command line keeps the count in a file, Home Assistant in its
own storage.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, TypeGuard

from .errors import InvalidSetting, QuotaExceeded

_DAY: Final = timedelta(days=1)
_MOST_SECONDS: Final = 1e9
"""More than any day can have cost: a saved count beyond is damage."""


class MinutesUsedUp(QuotaExceeded):
    """Our own limit of the day is reached, not that of the account."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class DailyMinutes:
    """Counts seconds of audio per UTC day, with or without a limit.

    ``minutes`` is the limit, None for none; ``option`` is how the user knows it, for the message.
    Raises :class:`InvalidSetting` (``daily_minutes``) for a limit that is not a positive number.

    The day never goes back: a clock that is yesterday's until the network has set it, or that steps
    back over midnight, gives nobody a second allowance. Only one that has gone on for a whole day
    behind the day that was counted is believed: then that day was the mistake.
    """

    def __init__(
        self,
        minutes: float | None,
        *,
        option: str = "--daily-minutes",
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Begin with nothing used."""
        check_minutes(minutes)
        self.minutes: Final = minutes
        self._option = option
        self._now = now
        self._seconds = 0.0
        # Since when, by the clock, the day that is counted has been in the future.
        self._behind_since: datetime | None = None
        self._set_day(now().astimezone(UTC).date())

    @property
    def seconds(self) -> float:
        """Seconds of audio sent since 00:00 UTC."""
        self._turn_page()
        return self._seconds

    @property
    def exhausted(self) -> bool:
        """Whether the limit is reached."""
        return self.minutes is not None and self.seconds >= self.minutes * 60

    def add(self, seconds: float) -> None:
        """Count *seconds* of audio."""
        self._turn_page()
        self._seconds += seconds

    def check(self) -> None:
        """Raise :class:`MinutesUsedUp` when the limit is reached."""
        if self.exhausted:
            raise MinutesUsedUp(
                f"The limit of {self.minutes:g} minutes a day ({self._option}) is used up;"
                " it is renewed at 00:00 UTC."
            )

    def snapshot(self) -> dict[str, Any]:
        """Return what :meth:`restore` takes, as JSON can hold it."""
        self._turn_page()
        return {"day": self._day.isoformat(), "seconds": round(self._seconds, 3)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Add what was counted earlier today; what was saved on a former day no longer counts.

        Raises :class:`ValueError` for what :meth:`snapshot` cannot have made.
        """
        day, seconds = saved.get("day"), saved.get("seconds")
        if not isinstance(day, str) or not _is_number(seconds) or not 0 <= seconds < _MOST_SECONDS:
            raise ValueError("not a count of seconds")
        try:
            counted = date.fromisoformat(day)
        except ValueError:
            raise ValueError("not a count of seconds") from None
        self._turn_page()
        if counted >= self._day:
            self._set_day(counted)
            self._seconds += seconds

    def _turn_page(self) -> None:
        """Begin another day when it has come. Asked for each frame, so the date is kept."""
        now = self._now()
        if self._begins <= now < self._ends:
            self._behind_since = None
            return
        if now < self._begins:
            if self._behind_since is None or now < self._behind_since:
                self._behind_since = now
            if now - self._behind_since < _DAY:
                return
        self._set_day(now.astimezone(UTC).date())
        self._seconds = 0.0

    def _set_day(self, day: date) -> None:
        self._day = day
        self._begins = datetime.combine(day, time(), UTC)
        self._ends = self._begins + _DAY if day < date.max else datetime.max.replace(tzinfo=UTC)
        self._behind_since = None


def check_minutes(minutes: float | None) -> None:
    """Raise :class:`InvalidSetting` (``daily_minutes``) unless this can be a limit."""
    if minutes is not None and not (_is_number(minutes) and 0 < minutes < math.inf):
        raise InvalidSetting("daily_minutes", f"daily_minutes must be above 0, not {minutes!r}")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
