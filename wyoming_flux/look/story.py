"""An utterance in words, for a person: what happened, why, and what would have helped."""

from typing import Final

from wyoming_flux.utterance.guess import Guess

from .spent import spent
from .turn import Turn
from .whatif import enough_hold

_WHY: Final = {
    "end-of-turn": "Flux said that the turn was over",
    "audio-stop": "the client had ended its audio",
    "no-speech": "nothing was said",
    "no-audio": "no more audio came from the client",
    "max-turn": "the turn had reached its longest",
    "daily-limit": "the minutes of the day were used up",
    "connection-lost": "the connection was lost, and this is what had been understood",
}


def outcome(turn: Turn) -> str:
    """Return in a word or two what came of it."""
    answer = turn.answer
    if answer is None:
        return "client left"
    if answer.error is not None:
        return answer.error.code
    if not answer.text and answer.faults and answer.endpoint is None:
        return answer.faults[-1][1].code
    return str(answer.trigger)


def story(turn: Turn) -> list[str]:
    """Return sentences, the most important first; none quotes what was said."""
    answer = turn.answer
    if answer is None:
        return ["The client left before there was an answer.", *_faults(turn)]
    sentences = []
    after = turn.after_word
    if answer.error is not None:
        sentences.append(f"No whole answer: {answer.error}.".replace("..", "."))
    elif not answer.text:
        sentences.append(
            f"The answer was empty after {turn.answered:.2f} s: {_WHY[answer.trigger]}."
        )
    elif after is not None:
        sentences.append(
            f"Answered {after:.2f} s after the last word, because {_WHY[answer.trigger]}."
        )
        sentences.append(_shares(turn))
    else:
        # Of an engine without partial text: it may well be none of Flux.
        names = turn.record.endpoints
        who = "Flux" if answer.endpoint is None else names[answer.endpoint]
        sentences.append(f"Answered because {_WHY[answer.trigger].replace('Flux', who)}.")
    if answer.missing:
        sentences.append(f"{answer.missing:.1f} s of the client's audio are not in the text.")
    return [*sentences, *_faults(turn), *_pauses(turn), *_guess(turn)]


def _shares(turn: Turn) -> str:
    by_owner: dict[str, int] = {}
    for part in spent(turn):
        by_owner[part.whose] = by_owner.get(part.whose, 0) + part.ticks
    names = {
        "Flux": "Flux needed {} s to be sure",
        "client": "the client took {} s to end its audio",
        "network": "the network and Flux's computing took {} s",
        "setting": "the hold took {} s",
        "wyoming-flux": "{} s are our own",
    }
    told = [names[who].format(f"{ticks / 10_000:.2f}") for who, ticks in by_owner.items()]
    sentence = "; ".join(told)
    word = turn.last_word
    guessed = "" if word is None or word[1] else " (Flux told no word times: where its text came)"
    return f"{sentence[:1].upper()}{sentence[1:]}{guessed}." if told else ""


def _faults(turn: Turn) -> list[str]:
    sentences = []
    names = turn.record.endpoints
    for attempt in turn.attempts.values():
        if attempt.why:
            what = "broke" if attempt.opened is not None else "did not come about"
            at = attempt.ended or attempt.began
            why = attempt.why.rstrip(".")
            sentences.append(f"Connection {attempt.number} {what} at {at:.2f} s: {why}.")
        elif attempt.ended is not None and attempt.ended < (turn.answered or turn.closed):
            sentences.append(f"Connection {attempt.number} was given up at {attempt.ended:.2f} s.")
        if attempt.opened is not None and (again := turn.again(attempt)):
            sentences.append(
                f"Connection {attempt.number} heard the audio again from {attempt.start:.2f} s on"
                f" ({again:.2f} s once more)."
            )
    endpoint = turn.answer.endpoint if turn.answer is not None else None
    if endpoint:
        sentences.append(f"{names[endpoint]} answered instead of {names[0]}.")
    return sentences


def _pauses(turn: Turn) -> list[str]:
    deciding, word = turn.deciding, turn.last_word
    answer = turn.answer
    if deciding is None or word is None or answer is None or answer.trigger != "end-of-turn":
        return []
    sentences = []
    holds = [at for at, state in turn.states if state.name == "HOLDING"]
    resumed = len(holds) - 1 if holds else 0
    if resumed:
        told = f"The hold kept the sentence together at {_times(resumed)}"
        if (enough := enough_hold(turn)) is not None:
            told += f"; a hold of {enough / 1000:g} s would have been enough"
        sentences.append(f"{told}.")
    confidence = deciding.confidence
    pause = deciding.place - word[0]
    if confidence is not None:
        at = f" at a pause of {pause:.2f} s" if pause > 0 else ""
        sentences.append(
            f"Flux ended the turn with a confidence of {confidence:.2f}{at}; the threshold was"
            f" {turn.record.flux.effective_eot_threshold:g}."
        )
    if not holds:
        sentences.append(
            "If the sentence was not over: a hold keeps listening after a pause, and costs as much"
            " with each answer."
        )
    return sentences


def _times(count: int) -> str:
    return "one pause" if count == 1 else f"{count} pauses"


def _guess(turn: Turn) -> list[str]:
    if turn.record.flux.eager_eot_threshold is None or turn.answered is None:
        return []
    guess = Guess()
    for one in turn.said:
        if one.at <= turn.answered:
            guess.hear(one.attempt, one.turn, one.event, one.text, one.at)
    sentences = []
    if (earlier := guess.earlier(turn.answered)) is not None:
        sentences.append(f"An early guess had the final text {earlier:.2f} s before the answer.")
    if guess.wrong:
        sentences.append("An early guess had another text.")
    return sentences or ["There was no early guess."]
