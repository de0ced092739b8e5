"""What a soak came to: each answer held against its plan, and whether all of it is good."""

import json
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wyoming.event import Event

from tests.unit.faults.matrix import Effect

from .soak_plan import TAG, Plan

MOST_GROWTH_MB: Final = 32.0
"""Memory that may be added after the first half of the turns."""
MOST_RECORDS: Final = 20
"""Turns that went wrong whose records stay."""


@dataclass
class Verdict:
    """What came of it."""

    turns: int = 0
    seconds: float = 0.0
    right: int = 0
    first_words: int = 0
    """Transcripts of turns whose connections were all lost: what was heard before."""
    errors: Counter[str] = field(default_factory=Counter)
    """By code; only of turns whose faults explain it."""
    closed: int = 0
    """Turns that the client gave up."""
    lost: list[str] = field(default_factory=list)
    """Without an answer, or with less than was to be had."""
    mixed_up: list[str] = field(default_factory=list)
    """With words of another turn, or words repeated."""
    late: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    """Errors and tracebacks in the log."""
    leaked_tasks: list[str] = field(default_factory=list)
    files: tuple[int, int] = (0, 0)
    """Open file descriptors at the start and at the end."""
    memory_mb: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Resident: at the start, after half of the turns, and at the end."""
    slowest: float = 0.0
    """Longest time by which the loop was late."""
    wrong: list[int] = field(default_factory=list)
    """The numbers of the turns that were lost, mixed up or late."""
    records: str = ""
    """The folder with the records of the first of them."""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        wrong = (self.lost, self.mixed_up, self.late, self.logged, self.leaked_tasks)
        grown = self.memory_mb[2] - self.memory_mb[1]
        return not any(wrong) and self.files[1] <= self.files[0] and grown <= MOST_GROWTH_MB

    def __str__(self) -> str:
        """Return the report."""
        errors = ", ".join(f"{code} {count}" for code, count in sorted(self.errors.items()))
        lines = [
            f"turns          {self.turns} in {self.seconds:.0f} s",
            f"right          {self.right}",
            f"first words    {self.first_words}  (all connections were lost)",
            f"typed errors   {self.errors.total()}  ({errors})",
            f"given up       {self.closed}  (by the client)",
            f"lost           {len(self.lost)}",
            f"mixed up       {len(self.mixed_up)}",
            f"late           {len(self.late)}",
            f"logged errors  {len(self.logged)}",
            f"leaked tasks   {len(self.leaked_tasks)}",
            f"files          {self.files[0]} at the start, {self.files[1]} at the end",
            "memory (MB)    {:.1f} at the start, {:.1f} half-way, {:.1f} at the end".format(
                *self.memory_mb
            ),
            f"loop late by   {self.slowest * 1000:.0f} ms at most",
        ]
        for name in ("lost", "mixed_up", "late", "logged", "leaked_tasks"):
            lines += [f"  {name}: {one}" for one in getattr(self, name)[:10]]
        if self.records:
            lines.append(f"records of what went wrong: {self.records}")
        return "\n".join([*lines, "good" if self.good else "BAD"])

    def note(self, kind: list[str], plan: Plan, what: str) -> None:
        """Take note of a turn that went wrong."""
        kind.append(f"{plan}: {what}")
        self.wrong.append(plan.number)

    def keep(self, folder: Path) -> None:
        """Move the records of what went wrong out of *folder*, at most :data:`MOST_RECORDS`."""
        wanted = {f"{TAG}{number}" for number in self.wrong[:MOST_RECORDS]}
        for path in folder.glob("*.jsonl") if wanted else ():
            with path.open(encoding="utf-8") as lines:
                (tag,) = json.loads(next(lines))["flux"]["keyterms"]
            if tag in wanted:
                self.records = self.records or tempfile.mkdtemp(prefix="wyoming-flux-soak-")
                shutil.move(path, Path(self.records) / f"{tag}.jsonl")

    def judge(self, plan: Plan, answer: Event | None) -> None:
        """Hold an answer against its plan; None: the connection was closed without one."""
        trouble = plan.trouble
        lasting = trouble is not None and trouble.effect is Effect.LASTING
        if answer is None:
            self.note(self.lost, plan, "closed without an answer")
            return
        if answer.type == "error":
            code = answer.data["code"]
            # What strikes where words are known already is always told as a connection lost.
            if lasting and trouble is not None and code in (trouble.code, "connection-lost"):
                self.errors[code] += 1
            else:
                self.note(self.lost, plan, code)
            return
        text = answer.data["text"]
        heard = tuple(text.split())
        if heard == plan.words:
            self.right += 1
        elif not set(heard) <= set(plan.words) or len(set(heard)) < len(heard):
            self.note(self.mixed_up, plan, text)
        elif lasting and heard == plan.words[: len(heard)] and heard:
            self.first_words += 1
        else:
            self.note(self.lost, plan, repr(text))
