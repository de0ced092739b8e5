"""What an endpoint was seen to take and to refuse: proofs, and how long they hold."""

import pytest

from wyoming_flux.flux.learnt import EndpointMemory, Facts, reductions
from wyoming_flux.flux.messages import CLOSE_STREAM, FORCE_END_TURN

DAY = 24 * 3600.0
EOT = ("eot_timeout_ms", "2000")
LAMP = ("keyterm", "lamp")
SOFA = ("keyterm", "sofa")
NOTHING: frozenset[tuple[str, str]] = frozenset()


def test_who_tells_text_at_once_settles() -> None:
    """Only where text keeps up with the audio does its standing still mean anything."""
    told = [
        Facts(partial=one, prompt=other).settles for one in (True, False) for other in (True, False)
    ]
    assert told == [True, False, False, False]
    assert Facts().settles


def deepgram() -> EndpointMemory:
    """Return what is known of an endpoint with two candidates: nothing."""
    return EndpointMemory((FORCE_END_TURN, CLOSE_STREAM))


def test_nothing_is_believed_at_first() -> None:
    """No control is sent in-band before it is proven; windows and partial text are assumed."""
    assert deepgram().facts(0) == Facts(
        control=None, candidate=FORCE_END_TURN, windows=True, partial=True
    )
    assert EndpointMemory((CLOSE_STREAM,)).facts(0).candidate == CLOSE_STREAM


def test_a_proven_control_ends_the_search() -> None:
    """What flushes is used, and nothing else is tried beside it, for a day."""
    learnt = deepgram()
    learnt.prove(CLOSE_STREAM, 100)
    assert learnt.facts(100 + DAY - 1) == Facts(control=CLOSE_STREAM, candidate=None)
    assert learnt.facts(100 + DAY) == Facts(control=None, candidate=FORCE_END_TURN)
    learnt.prove(FORCE_END_TURN, 200)
    assert learnt.facts(200).control == FORCE_END_TURN


def test_a_refused_control_is_not_tried_for_a_day() -> None:
    """The next candidate has its turn; when all were refused, there is none for 24 h."""
    learnt = deepgram()
    learnt.disprove(FORCE_END_TURN, 0)
    assert learnt.facts(1).candidate == CLOSE_STREAM
    learnt.disprove(CLOSE_STREAM, 10)
    assert learnt.facts(11) == Facts()
    assert learnt.facts(DAY).candidate == FORCE_END_TURN


def test_a_control_that_fails_later_is_no_longer_believed() -> None:
    """A build can change under us: the last word counts, either way."""
    learnt = EndpointMemory((CLOSE_STREAM,))
    learnt.prove(CLOSE_STREAM, 0)
    learnt.disprove(CLOSE_STREAM, 5)
    assert learnt.facts(6) == Facts()
    learnt.prove(CLOSE_STREAM, 7)
    assert learnt.facts(8) == Facts(control=CLOSE_STREAM)


def test_windows() -> None:
    """Window ends that cannot be used are looked at again after a day, or when they could."""
    learnt = deepgram()
    learnt.windows(False, 0)
    assert not learnt.facts(DAY - 1).windows
    assert learnt.facts(DAY).windows
    learnt.windows(False, DAY)
    learnt.windows(True, DAY + 1)
    assert learnt.facts(DAY + 1).windows


def test_down_doubles_from_half_a_minute_to_ten() -> None:
    """Each failure keeps it last for twice as long; a success forgets them."""
    learnt, now, lengths = deepgram(), 0.0, []
    for _ in range(6):
        assert not learnt.down(now)
        learnt.mark_down(now)
        learnt.mark_down(now + 1)  # another utterance that failed at the same time
        began = now
        while learnt.down(now):
            now += 1
        lengths.append(now - began)
    assert lengths == [30, 60, 120, 240, 480, 600]
    assert not learnt.mark_down(now, "gone"), "it was down already"
    assert learnt.down_because == "gone"
    assert learnt.mark_up()
    assert not learnt.mark_up(), "it works already"
    assert learnt.down_because is None
    assert not learnt.down(now)
    assert learnt.mark_down(now)
    assert learnt.down(now + 29)
    assert not learnt.down(now + 30)


def test_a_proof_takes_two_in_a_row() -> None:
    """Refused and heard without twice, not taken in between: left out for an hour from then."""
    learnt = deepgram()
    rest, refused = frozenset({LAMP}), frozenset({EOT})
    assert not learnt.worked(rest, refused, 0)
    assert not learnt.worked(rest | refused, NOTHING, 1)  # it was taken: the count is void
    assert not learnt.worked(rest, refused, 1)
    assert not learnt.worked(refused, NOTHING, 1)  # also where it was all that was asked for
    assert not learnt.worked(rest, refused, 2)
    assert learnt.left_out(rest | refused, 2) == NOTHING
    assert learnt.worked(rest, refused, 3)
    assert not learnt.worked(rest, refused, 3)  # one beside it, which was under way
    assert learnt.left_out(rest | refused, 3602) == learnt.refused(3602) == refused
    assert learnt.left_out(rest | refused, 3603) == NOTHING


def test_a_refusal_holds_for_those_who_ask_for_all_of_it() -> None:
    """Terms that one client brought take none from those who do not bring all of them."""
    learnt = deepgram()
    for now in (0, 1):
        learnt.worked(frozenset({EOT}), frozenset({LAMP, SOFA}), now)
    assert learnt.left_out(frozenset({EOT, LAMP}), 2) == NOTHING
    assert learnt.left_out(frozenset({EOT, LAMP, SOFA}), 2) == {LAMP, SOFA}
    assert learnt.left_out(frozenset({LAMP, SOFA}), 2) == {LAMP, SOFA}
    more = frozenset({("keyterm", "desk"), LAMP, SOFA})
    assert learnt.left_out(more, 2) == {LAMP, SOFA}


def test_refusals_are_bounded() -> None:
    """A client with other terms each time does not fill the memory."""
    learnt = deepgram()
    for number in range(1000):
        learnt.worked(NOTHING, frozenset({("keyterm", str(number))}), 0)
    assert learnt.worked(NOTHING, frozenset({("keyterm", "999")}), 1)
    assert not learnt.worked(NOTHING, frozenset({("keyterm", "0")}), 1)


@pytest.mark.parametrize("names", [["keyterm", "tag"], ["eager_eot_threshold", "eot_threshold"]])
def test_reductions(names: list[str]) -> None:
    """Thresholds, then key terms, then all that is optional."""
    asked = [(name, "1") for name in names]
    sets = [{name for name, _ in one} for one in reductions(asked)]
    thresholds = {name for name in names if "eot" in name}
    assert sets == [thresholds, {"keyterm"} & set(names), set(names)]


def test_a_proof_ends_an_older_refusal_for_good() -> None:
    """Once it was proven, the refusal before it does not come back when the proof expires."""
    learnt = EndpointMemory((CLOSE_STREAM,))
    learnt.disprove(CLOSE_STREAM, 100)
    learnt.prove(CLOSE_STREAM, 50)
    assert learnt.facts(50 + DAY).candidate == CLOSE_STREAM
