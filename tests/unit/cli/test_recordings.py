"""What ``transcribe`` takes: WAV, raw samples, a microphone, and with ffmpeg any other audio."""

import asyncio
import json
import os
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import TEXT
from wyoming_flux.simulator import Simulator

pytestmark = pytest.mark.slow

RAW = ("--raw", "16000:16:1")
NO_FFMPEG = {"PATH": "/nowhere"}
TO_INSTALL = "To read it, install ffmpeg: sudo apt install ffmpeg\n"

# The first bytes of each, from real files.
KINDS = {
    "MP3": b"ID3\x04\x00\x00\x00\x00\x00\x23TSSE",
    "MP3 (no tag)": b"\xff\xf3\x18\xc4\x00\x00\x00\x03H\x00\x00\x00",
    "FLAC": b"fLaC\x00\x00\x00\x22\x12\x00\x12\x00",
    "Ogg": b"OggS\x00\x02\x00\x00\x00\x00\x00\x00",
    "MP4": b"\x00\x00\x00\x1cftypM4A ",
    "AMR": b"#!AMR\n\x3c\x08\x00\x00\x00\x00",
}


@pytest.fixture
def ffmpeg(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Put a program of this name on the PATH; it notes its arguments, and what it was given."""

    def make(pcm: bytes = b"", said: str = "", code: int = 0) -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "pcm").write_bytes(pcm)
        program = folder / "ffmpeg"
        program.write_text(
            f"#!{sys.executable}\n"
            "import json, pathlib, sys\n"
            f"folder = pathlib.Path({str(folder)!r})\n"
            "given = sys.stdin.buffer.read() if 'pipe:0' in sys.argv else b''\n"
            "(folder / 'given').write_bytes(given)\n"
            "(folder / 'arguments').write_text(json.dumps(sys.argv[1:]))\n"
            f"sys.stderr.write({said!r})\n"
            "sys.stderr.flush()\n"
            "sys.stdout.buffer.write((folder / 'pcm').read_bytes())\n"
            f"raise SystemExit({code})\n"
        )
        program.chmod(0o755)
        return {"PATH": str(folder)}

    return make


async def test_several_files_and_a_wrong_one(run, wav, spoken, at, tmp_path) -> None:
    """Each file gets its line; a wrong one does not keep the others away, but is the exit code."""
    (tmp_path / "notes.wav").write_text("Dear diary, today I said nothing.")
    result = await run("transcribe", "notes.wav", wav(spoken(0.1, 1.6, 0.6)), *at)
    assert result.code == 1
    assert result.out == f"{tmp_path / 'speech.wav'}: {TEXT}\n"
    assert result.err == "wyoming-flux: notes.wav: This is text, not audio.\n"


async def test_any_wav_can_be_read(run, wav, spoken, at) -> None:
    """Three channels of 24 bit become one of 16."""
    pcm = spoken(0.3, 1.6, 0.6)
    samples = struct.iter_unpack("2s", pcm)
    wide = b"".join((b"\x00" + sample) * 3 for (sample,) in samples)
    result = await run("transcribe", wav(wide, bits=24, channels=3), *at)
    assert (result.code, result.out) == (0, f"{TEXT}\n")


BAD_FILES = {
    "missing": "there is no such file",
    "folder": "this is a directory; name the recordings in it",
    "empty": "There is no audio in it: it is empty.",
    "header": "The WAV holds no audio: there is a header, but not one sample.",
    "float": "The WAV holds 32 bit floating point audio; 8, 16, 24 and 32 bit integer PCM are",
    "rate": "Audio with a sample rate of 7000 Hz is not supported;",
    "unknown": f"This is no audio file that is known. {TO_INSTALL}",
}


@pytest.mark.parametrize("kind", BAD_FILES)
async def test_a_wrong_file_is_one_sentence(kind, run, wav, at, tmp_path) -> None:
    """What is wrong with a file is told in one line, and as JSON for a program."""
    path = tmp_path / kind
    match kind:
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "unknown":
            path.write_bytes(bytes(range(128, 256)))
        case "header":
            wav(b"", kind)
        case "float":
            wav(bytes(400), kind, bits=32, tag=3)
        case "rate":
            wav(bytes(400), kind, rate=7000)
    result = await run("transcribe", str(path), "--json", *at, **NO_FFMPEG)
    assert result.code == 1
    assert BAD_FILES[kind] in result.err
    assert result.err.count("\n") == 1
    assert json.loads(result.out)["error"] in result.err


@pytest.mark.parametrize("more", [(), RAW], ids=["alone", "raw"])
@pytest.mark.parametrize("way", ["file", "stdin"])
@pytest.mark.parametrize("kind", KINDS)
async def test_other_audio_is_never_taken_for_samples(
    kind, way, more, run, flux, at, tmp_path
) -> None:
    """It would be billed as noise: without ffmpeg one sentence says what to do, --raw or not."""
    (tmp_path / "song").write_bytes(KINDS[kind] + bytes(20_000))
    given = None if way == "file" else (tmp_path / "song").read_bytes()
    name = "song" if way == "file" else "-"
    result = await run("transcribe", name, *more, *at, stdin=given, **NO_FFMPEG)
    article = "an" if kind in ("MP3", "MP3 (no tag)", "Ogg", "AMR", "MP4") else "a"
    said = f"This is {article} {kind.split()[0]} file. {TO_INSTALL}"
    assert (result.code, result.out) == (1, "")
    assert result.err == f"wyoming-flux: {name}: {said}"
    assert not flux.connections


@pytest.mark.parametrize("way", ["file", "stdin", "named pipe"])
async def test_other_audio_goes_through_ffmpeg(way, run, spoken, at, ffmpeg, tmp_path) -> None:
    """It is decoded by arguments, not by a shell; the file's length is what ffmpeg tells."""
    path = ffmpeg(spoken(0.3, 1.6, 0.6), "  Duration: 00:20:00.50, start: 0.0\n")
    name = "-it's; $(a) song: 1.mp3"
    (tmp_path / name).write_bytes(KINDS["MP3"] + b"rest")
    if way == "file":
        result = await run("transcribe", *at, "--", name, **path)
    elif way == "stdin":
        result = await run("transcribe", "-", *at, stdin=KINDS["MP3"] + b"rest", **path)
    else:
        os.mkfifo(tmp_path / "pipe")
        writing = asyncio.to_thread((tmp_path / "pipe").write_bytes, KINDS["MP3"] + b"rest")
        _, result = await asyncio.gather(writing, run("transcribe", "pipe", *at, **path))
    assert (result.code, result.out) == (0, f"{TEXT}\n"), result.err
    assert "20:00 of audio, about $0.15 at Cloudflare's $0.0077 a minute" in result.err
    arguments = json.loads((tmp_path / "bin" / "arguments").read_text())
    source = arguments.index("-i") + 1
    assert arguments[source] == (f"file:{name}" if way == "file" else "pipe:0")
    assert arguments[source + 1 :] == ("-vn -sn -dn -f s16le -ac 1 -ar 16000 pipe:1".split())
    given = (tmp_path / "bin" / "given").read_bytes()
    assert given == (b"" if way == "file" else KINDS["MP3"] + b"rest")


@pytest.mark.parametrize("way", ["file", "stdin"])
async def test_a_wav_of_another_encoding_goes_through_ffmpeg(
    way, run, wav, spoken, at, ffmpeg, tmp_path
) -> None:
    """Of what was read of it to see what it is, nothing is missing."""
    env = ffmpeg(spoken(0.3, 1.6, 0.6))
    path = Path(wav(bytes(200_000), bits=32, tag=3))
    given = None if way == "file" else path.read_bytes()
    result = await run("transcribe", str(path) if given is None else "-", *at, stdin=given, **env)
    assert (result.code, result.out) == (0, f"{TEXT}\n"), result.err
    assert (tmp_path / "bin" / "given").read_bytes() == (given or b"")


async def test_what_ffmpeg_cannot_read(run, at, ffmpeg, tmp_path) -> None:
    """Its last line is the reason."""
    env = ffmpeg(said="Input #0\nfile:song.mp3: Invalid data found\n", code=1)
    (tmp_path / "song.mp3").write_bytes(KINDS["MP3"])
    result = await run("transcribe", "song.mp3", *at, **env)
    assert (result.code, result.out) == (1, "")
    said = "ffmpeg cannot read it: Invalid data found"
    assert result.err == f"wyoming-flux: song.mp3: {said}\n"


@pytest.mark.parametrize("kind", ["MP4", "of no kind"])
async def test_where_ffmpeg_finds_no_sound(kind, run, at, ffmpeg, tmp_path) -> None:
    """What is of no known kind may be raw samples: what would make it some is said."""
    env = ffmpeg(said="Output #0\nOutput file #0 does not contain any stream\n", code=1)
    (tmp_path / "call").write_bytes(KINDS.get(kind, bytes(range(128, 256))))
    result = await run("transcribe", "call", *at, **env)
    assert (result.code, result.out) == (1, "")
    hint = "" if kind in KINDS else "; raw samples need --raw RATE:BITS:CHANNELS"
    assert result.err == f"wyoming-flux: call: ffmpeg finds no sound in it{hint}\n"


async def test_a_recording_that_is_cut_off(run, wav, spoken, at) -> None:
    """What is there is written down, and it is said that it is not all."""
    path = Path(wav(spoken(0.3, 1.6, 2.1)))
    path.write_bytes(path.read_bytes()[: 44 + 2 * 32_000])
    result = await run("transcribe", str(path), *at)
    assert (result.code, result.out) == (0, f"{TEXT}\n")
    said = "it is cut off: 2.0 s that its header tells are not there"
    assert result.err == f"wyoming-flux: {path}: {said}\n"


async def test_raw_samples_need_raw(run, spoken, flux, at) -> None:
    """What nobody knows is not sent to be billed."""
    pcm = spoken(0.3, 1.6, 0.6)
    result = await run("transcribe", "-", *at, stdin=b"\x80" + pcm)
    assert result.code == 1
    assert "raw samples need --raw RATE:BITS:CHANNELS" in result.err
    assert not flux.connections


async def test_raw_samples_in_a_file(run, spoken, at, tmp_path) -> None:
    """With --raw a file is taken as well."""
    (tmp_path / "call.raw").write_bytes(spoken(0.3, 1.6, 0.6))
    result = await run("transcribe", "call.raw", *RAW, *at)
    assert (result.code, result.out) == (0, f"{TEXT}\n")


@pytest.mark.parametrize("more", [(), ("--json",), ("-q",)])
async def test_nothing_heard_is_exit_code_3(more, run, wav, spoken, at) -> None:
    """Silence is no error, but no text either, which is said."""
    path = wav(spoken(1.0))
    result = await run("transcribe", path, *more, *at)
    assert result.code == 3
    assert json.loads(result.out)["text"] == "" if more == ("--json",) else result.out == "\n"
    said = f"wyoming-flux: {path}: nothing was heard\n"
    assert result.err == ("" if more == ("-q",) else said)


TWO_SENTENCES = (0.3, 1.6, 2.0, 1.6, 2.0)


@pytest.mark.parametrize(
    ("more", "trigger", "sentences"),
    [
        ((), "audio-stop", 2),
        (("--answer-on", "audio-stop"), "audio-stop", 2),
        (("--answer-on", "end-of-turn"), "end-of-turn", 1),
        (("--answer-on", "end-of-turn", "--real-time"), "end-of-turn", 1),
    ],
)
async def test_answer_on_does_what_it_says(more, trigger, sentences, run, wav, spoken) -> None:
    """A file is answered as a whole; asked for, at the end of its first turn, however fast."""
    said = ("turn on the light", "and the fan")
    async with Simulator(ingest_rate=0, script=said) as flux:
        at = ("--worker-url", flux.url, "--route", "workers-ai")
        result = await run("transcribe", wav(spoken(*TWO_SENTENCES)), "--json", *more, *at)
    answer = json.loads(result.out)
    assert answer["trigger"] == trigger
    assert answer["text"] == " ".join(said[:sentences])


async def test_a_turn_that_does_not_end(run, wav, spoken, at) -> None:
    """Where the recording ends in its first turn, its end is the turn's, however it was asked."""
    path = wav(spoken(0.3, 1.6))
    result = await run("transcribe", path, "--answer-on", "end-of-turn", "--json", *at)
    assert json.loads(result.out)["text"] == TEXT


@pytest.mark.parametrize("how", ["file", "pipe"])
async def test_standard_input_as_wav(how, run, start, wav, spoken, at) -> None:
    """A WAV of known length is a file, wherever it comes from."""
    path = Path(wav(spoken(0.3, 1.6, 0.6)))
    if how == "pipe":
        result = await run("transcribe", "-", *at, stdin=path.read_bytes())
    else:
        with path.open("rb") as file:
            process = await start("transcribe", "-", *at, stdin=file.fileno())
            result = await process.end()
    assert (result.code, result.out) == (0, f"{TEXT}\n")


async def speak(process, pcm: bytes) -> None:
    """Write as a microphone does: what it has recorded, and no more, until its pace was seen."""
    recorded = 16_000
    process.process.stdin.write(pcm[:recorded])
    await process.wait_for("connecting to")
    process.process.stdin.write(pcm[recorded:])
    await process.process.stdin.drain()


@pytest.mark.parametrize("header", ["raw", "endless"])
async def test_what_comes_fast_is_no_microphone(header, run, wav, spoken, at) -> None:
    """``ffmpeg … | wyoming-flux transcribe -`` is a file, though nobody knows its length."""
    pcm = spoken(0.3, 1.6, 1.5, 1.6, 0.5)
    if header == "endless":
        whole = bytearray(Path(wav(pcm)).read_bytes())
        whole[40:44] = struct.pack("<I", 0xFFFFFFFF)
        pcm = bytes(whole)
    result = await run("transcribe", "-", "--json", *RAW, *at, stdin=pcm)
    answer = json.loads(result.out)
    assert answer["trigger"] == "audio-stop"
    assert answer["audio_seconds"] >= 5.3, "all of it was sent"


@pytest.mark.parametrize("header", ["raw", "endless"])
async def test_a_microphone_is_answered_while_it_is_open(header, start, wav, spoken, at) -> None:
    """``arecord | wyoming-flux transcribe -`` answers at the end of the turn, not of the audio."""
    pcm = spoken(0.3, 1.6, 1.0)
    if header == "endless":
        whole = bytearray(Path(wav(pcm)).read_bytes())
        # What arecord writes into a pipe.
        whole[40:44] = struct.pack("<I", 0x7FFFFFFF)
        pcm = bytes(whole)
    process = await start("transcribe", "-", "--json", "--verbose", *RAW, *at)
    await speak(process, pcm)
    async with asyncio.timeout(20):
        answer = json.loads(await process.process.stdout.read())
    assert answer["text"] == TEXT
    assert answer["trigger"] == "end-of-turn"
    assert (await process.end()).code == 0


async def test_ctrl_c_ends_the_microphone(start, spoken, at) -> None:
    """What was said before Ctrl-C is answered."""
    process = await start("transcribe", "-", "--verbose", *RAW, *at)
    await speak(process, spoken(0.3, 1.6))
    await process.wait_for("words so far")
    process.process.send_signal(signal.SIGINT)
    async with asyncio.timeout(20):
        assert (await process.process.stdout.read()).decode().startswith("turn on the")
    assert (await process.end()).code == 0
