"""What clients ask for: what is refused and how it is said, what reaches the utterance."""

from typing import Any

import pytest
from wyoming.asr import Transcribe
from wyoming.event import Event
from wyoming.info import Describe, Info

from wyoming_flux.settings import FluxSettings

from .conftest import FORM, PCM, STOP, chunk


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        (
            {"language": "de"},
            "unsupported-language",
            "does not know the language 'de'; it knows en.",
        ),
        ({"language": 3}, "invalid-event", "language must be a text, not 3."),
        ({"language": 10**30}, "invalid-event", "not a huge number."),
        ({"name": ["x"]}, "invalid-event", "name must be a text, not a list."),
        ({"vad_sensitivity": "high"}, "invalid-event", "relaxed, default, aggressive, not 'high'."),
        ({"vad_sensitivity": {}}, "invalid-event", "vad_sensitivity must be one of"),
        (
            {"transcript_names": "Ecobee"},
            "invalid-event",
            "transcript_names must be a list of texts.",
        ),
        ({"transcript_terms": [1]}, "invalid-event", "transcript_terms must be a list of texts."),
    ],
)
async def test_a_refused_transcribe_is_answered_once(
    serve: Any, say: Any, fields: dict[str, Any], code: str, says: str
) -> None:
    """One error; its audio starts nothing; the next turn works."""
    one = await serve()
    client = await one.connect()
    refused = Event("transcribe", fields)
    await client.send(refused, *say(transcribe=False, stop=True))
    got, text = await client.read_error()
    assert got == code
    assert says in text
    await client.alive()
    assert one.utterances == []
    await client.send(*say(language="en-US", stop=True))
    await one.answers(client, "yes")


async def test_a_refusal_waits_for_the_answer_before_it(serve: Any, say: Any) -> None:
    """The error of the second turn does not come in front of the transcript of the first."""
    one = await serve()
    client = await one.connect()
    await client.send(*say(stop=True), *say(language="xx", stop=True), *say(stop=True))
    await one.answers(client, "first")
    assert (await client.read_error())[0] == "unsupported-language"
    await one.answers(client, "third", 2)


@pytest.mark.parametrize(
    ("form", "code", "says"),
    [
        ({"rate": 7000}, "invalid-audio", "7000"),
        ({"width": 5}, "invalid-audio", "width of 5"),
        ({"channels": 9}, "invalid-audio", "9 channels"),
        ({"channels": 0}, "invalid-audio", "0 channels"),
        ({"rate": 10**40}, "invalid-audio", "1000"),
        (
            {"rate": "16000"},
            "invalid-event",
            "needs rate as a whole number, not '16000'.",
        ),
        ({"rate": True}, "invalid-event", "not True"),
        ({"rate": None}, "invalid-event", "not nothing"),
        ({"width": 2.0}, "invalid-event", "not 2.0"),
        ({"channels": [1]}, "invalid-event", "not a list"),
    ],
)
async def test_a_format_that_cannot_be_converted(
    serve: Any, form: dict[str, Any], code: str, says: str
) -> None:
    """One clear sentence, whether audio-start says it or the first chunk."""
    one = await serve()
    client = await one.connect()
    await client.send(
        Transcribe().event(), Event("audio-start", {**FORM, **form}), chunk(), chunk(), STOP
    )
    got, text = await client.read_error()
    assert got == code
    assert says in text
    await client.alive()
    other = await one.connect()
    await other.send(Event("audio-chunk", {**FORM, **form}, PCM), chunk(), STOP)
    assert (await other.read_error())[0] == code
    await other.alive()


@pytest.mark.parametrize(
    "other", [{"rate": 44100}, {"width": 4}, {"channels": 2}, {"rate": "16000"}, {"rate": 10**30}]
)
async def test_a_chunk_that_contradicts_its_start(speaking: Any, other: Any) -> None:
    """One clear sentence, Flux is closed, the rest of the audio is discarded."""
    one, client, utterance = await speaking()
    await utterance.heard(2560)
    await client.send(Event("audio-chunk", {**FORM, **other}, PCM), chunk(), STOP)
    code, text = await client.read_error()
    assert code == "invalid-audio"
    assert "contradicts its audio-start" in text
    assert len(text) < 200
    await utterance.closed.wait()
    await client.alive()
    assert await one.outcome() == "invalid-audio"


async def test_what_is_unknown_is_ignored(serve: Any) -> None:
    """Unknown events, select-program among them, and unknown fields do no harm."""
    one = await serve()
    client = await one.connect()
    await client.send(
        Event("select-program", {"name": "x"}),
        Event("unheard-of", {"a": [1]}, b"payload"),
        Event("transcribe", {"context": {"a": 1}, "name": "another-model", "new": True}),
    )
    await one.utterance()
    await client.alive()


async def test_ping_wants_a_text(serve: Any) -> None:
    """Ping without text gets pong without; anything else is said to be wrong."""
    one = await serve()
    client = await one.connect()
    await client.send(Event("ping"), Event("ping", {"text": 1}))
    assert (await client.read_type("pong")).data == {"text": None}
    assert await client.read_error() == ("invalid-event", "text must be a text, not 1.")
    await client.alive()


async def test_info(serve: Any) -> None:
    """The describe answer, as the library reads it."""
    one = await serve(name="kitchen", external_vad=True, flux=FluxSettings())
    async with one.library_client() as client:
        await client.write_event(Describe().event())
        event = await client.read_event()
    assert event is not None
    (program,) = Info.from_event(event).asr
    assert (program.name, program.installed, program.version) == ("kitchen", True, "0.1.0")
    assert program.requires_external_vad
    assert program.supports_transcript_streaming
    assert not program.prefers_auto_gain_enabled
    assert not program.prefers_noise_reduction_enabled
    (model,) = program.models
    assert model.installed
    assert {"en", "en-US", "en-GB"} <= set(model.languages)
    assert "Cloudflare" in program.attribution.name
    assert model.attribution.name == "Deepgram"


async def test_info_by_default(serve: Any) -> None:
    """Home Assistant is told that Flux detects the end of speech itself."""
    one = await serve(
        flux=FluxSettings(model="flux-general-multi"), endpoint="wss://api.deepgram.com/v2/listen"
    )
    client = await one.connect()
    await client.send(Describe().event())
    (program,) = Info.from_event(await client.read_type("info")).asr
    assert program.name == "flux"
    assert not program.requires_external_vad
    assert program.attribution.name == "Deepgram"
    assert {"en", "de", "de-DE", "pt-BR"} <= set(program.models[0].languages)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [(None, "nl"), ("", "nl"), ("de", "de"), ("DE_at", "de"), ("pt-XX", "pt"), ("en-GB", "en")],
)
async def test_language_of_the_multilingual_model(
    serve: Any, say: Any, asked: str | None, sent: str
) -> None:
    """A language, with any region, reaches Flux; none leaves the configured one."""
    flux = FluxSettings(model="flux-general-multi", language="nl")
    one = await serve(flux=flux, endpoint="wss://api.deepgram.com/v2/listen")
    client = await one.connect()
    await client.send(*say(language=asked))
    assert (await one.utterance()).settings.language == sent


async def test_settings_of_the_event(serve: Any, say: Any) -> None:
    """Sensitivity wins over the preset; names rank above terms, terms above configured ones."""
    flux = FluxSettings(sensitivity="relaxed", keyterms=("Nabu", "porch"), eager_eot_threshold=0.8)
    one = await serve(flux=flux, keyterms=lambda: ["Attic", "nabu"])
    client = await one.connect()
    names = ["Ecobee", " ecobee "]
    await client.send(
        *say(vad_sensitivity="aggressive", transcript_names=names, transcript_terms=["lamp"])
    )
    settings = (await one.utterance()).settings
    assert settings.keyterms == ("Ecobee", "lamp", "Nabu", "porch", "Attic")
    assert settings.effective_eot_threshold == 0.6
    assert settings.eager_eot_threshold == 0.6
    other = await one.connect()
    await other.send(*say(language="en"))
    settings = (await one.utterance(2)).settings
    assert settings.keyterms == ("Nabu", "porch", "Attic")
    assert settings.eager_eot_threshold == 0.8
    assert settings.language is None


async def test_cut_key_terms_are_logged_once(
    serve: Any, say: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning with numbers, not at every turn; never the names."""
    one = await serve()
    client = await one.connect()
    names = [f"Name{number}" for number in range(150)]
    for number in (1, 2):
        await client.send(*say(transcript_names=names))
        assert len((await one.utterance(number)).settings.keyterms) == 100
    said = [record for record in caplog.records if "key terms" in record.message]
    assert len(said) == 1
    assert "50" in said[0].message
    assert "Name" not in caplog.text


async def test_two_faults_of_one_turn_are_one_error(serve: Any, say: Any) -> None:
    """A second reason to fail, while the first is being said, adds nothing."""
    one = await serve()
    client = await one.connect()
    await client.send(
        Event("transcribe", {"language": 1}), Event("audio-start", {"rate": 1}), chunk(), STOP
    )
    assert (await client.read_error())[0] == "invalid-event"
    await client.alive()
