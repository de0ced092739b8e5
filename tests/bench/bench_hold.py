"""What a hold catches: ``python -m tests.bench.bench_hold``.

A sentence with one pause, against a Flux on paper that ends a turn after 0.32 s of silence. The
first words of a text trail speech: Flux's by about 0.6 s, of which 0.55 s can be played here
(docs/turns.md, rule 10).
"""

from collections.abc import Iterable

from tests.support import paper_flux
from tests.support.paper_flux import say, silence, word
from tests.support.world import World, paced
from wyoming_flux.settings import UtteranceSettings

PAUSES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4)
HOLDS = (0, 250, 500, 750, 1000, 1500)
TRAILS = (0.35, 0.55)


def longest_pause(hold: int) -> tuple[float, float]:
    """Return the longest pause that a hold bridges, and the seconds it adds to every answer."""
    bridged, added = 0.0, 0.0
    for pause in PAUSES:
        speech = silence(0.3) + say(range(3), gap=0.06) + silence(pause) + say(range(3, 6))
        end = len(speech) / 2 / paper_flux.RATE
        world = World(paced(speech + silence(8.0)), None, settings=UtteranceSettings(hold=hold))
        if world.play().text == " ".join(word(number) for number in range(6)):
            bridged, added = pause, world.answered_at - end
    return bridged, added


def rows() -> Iterable[str]:
    """Return the table as Markdown."""
    yield "| text trails speech by | " + " | ".join(f"hold {hold} ms" for hold in HOLDS) + " |"
    yield "|---" * (len(HOLDS) + 1) + "|"
    usual = paper_flux.TRAILS
    for trails in TRAILS:
        paper_flux.TRAILS = trails
        found = (longest_pause(hold) for hold in HOLDS)
        cells = (f"{pause:.1f} s" if pause else "none" for pause, _ in found)
        yield f"| {trails} s | " + " | ".join(cells) + " |"
    paper_flux.TRAILS = usual


if __name__ == "__main__":
    print("\n".join(rows()))
