"""Options from the command line, the environment and files."""

from pathlib import Path
from typing import Any

import pytest

from wyoming_flux.cli import environment, main, options
from wyoming_flux.cli.environment import Given
from wyoming_flux.cli.options import (
    COMMANDS,
    SETTINGS,
    file_variable_of,
    flag_of,
    variable_of,
)
from wyoming_flux.declare import Setting
from wyoming_flux.errors import InvalidSetting
from wyoming_flux.settings import UtteranceSettings

VALID = {
    "worker_url": "wss://flux.example.workers.dev",
    "headers": "X-Name: value",
    "allow": "10.0.0.0/8",
}


def valid(setting: Setting) -> str:
    """Return a text that this setting takes."""
    if setting.kind == "switch":
        return "yes"
    if setting.limits is not None:
        return str(setting.limits[1])
    return str(setting.choices[-1]) if setting.choices else VALID.get(setting.name, "some text")


def read(command: str, *argv: str, **variables: str) -> Given:
    """Read the settings of a command."""
    return environment.collect(SETTINGS[command], vars(options.parse([command, *argv])), variables)


def test_serve_takes_nothing_without_a_variable() -> None:
    """But for help and version, each of its options is a setting, which has one (see below)."""
    serve = options.make_parser("serve")[1]["serve"]
    taken = {action.dest for action in serve._actions} - {"help", "version"}
    assert taken == set(SETTINGS["serve"])


@pytest.mark.parametrize("setting", SETTINGS["serve"].values(), ids=lambda setting: setting.name)
def test_each_option_has_a_variable_and_a_file(setting: Setting, tmp_path: Path) -> None:
    """Flag, variable and file give the same value."""
    name = setting.name
    text = valid(setting)
    path = tmp_path / "value"
    path.write_text(f"{text}\n")
    found = [read("serve", **{variable_of(setting): text})]
    assert found[0].sources[name] == "WYOMING_FLUX_" + setting.option.upper()
    if (variable := file_variable_of(setting)) is not None:
        found.append(read("serve", **{variable: str(path)}))
    if setting.kind == "switch":
        found.append(read("serve", flag_of(setting)))
    else:
        found.append(read("serve", flag_of(setting), str(path) if setting.secret else text))
    assert all(one.values == found[0].values for one in found)
    assert name in found[0].values


def test_the_command_line_wins_over_the_environment() -> None:
    """A flag is meant for this run, a variable for all."""
    found = read("serve", "--name", "here", WYOMING_FLUX_NAME="there")
    assert found.values["name"] == "here"
    assert found.sources["name"] == "--name"


def test_what_was_given_wins_over_what_is_usual() -> None:
    """A command may have defaults of its own; they give way."""
    found = read("transcribe", "--answer-on", "end-of-turn")
    made = found.make(UtteranceSettings, answer_on="audio-stop", wake_phrases=())
    assert (made.answer_on, made.wake_phrases) == ("end-of-turn", ())


def test_an_empty_variable_is_not_set() -> None:
    """Compose files hand over variables that nobody has filled in."""
    assert read("serve", WYOMING_FLUX_NAME="", WYOMING_FLUX_TOKEN_FILE=" ").values == {}


def test_repeated_options() -> None:
    """Flags are repeated; variables and files hold several values."""
    flags = read("serve", "--keyterm", "Nabu", "--keyterm", "Casa")
    assert flags.values["keyterms"] == ("Nabu", "Casa")
    variable = read("serve", WYOMING_FLUX_KEYTERM="Nabu, Casa\nFlux")
    assert variable.values["keyterms"] == ("Nabu", "Casa", "Flux")


@pytest.mark.parametrize("word", ["none", "None", ""])
def test_no_wake_phrases(word: str) -> None:
    """All wake phrases can be taken away."""
    found = read("serve", "--wake-phrase", word)
    assert found.make(UtteranceSettings).wake_phrases == ()


def test_a_switch_can_be_off() -> None:
    """A variable can say no."""
    assert read("serve", WYOMING_FLUX_DEBUG="off").values["debug"] is False


@pytest.mark.parametrize(
    ("argv", "name"),
    [((), None), (("--zeroconf",), ""), (("--zeroconf", "kitchen"), "kitchen")],
)
def test_zeroconf_takes_a_name_or_none(argv: tuple[str, ...], name: str | None) -> None:
    """Without a name the usual one is announced."""
    assert read("serve", *argv).values.get("zeroconf") == name


def test_headers_keep_their_commas(tmp_path: Path) -> None:
    """Headers are separated by lines alone, and comments are left out."""
    path = tmp_path / "headers"
    path.write_text("# Cloudflare Access\nCF-Access-Client-Id: a,b\nX: y: z\n")
    found = read("serve", "--worker-url", "wss://x.example", "--header-file", str(path))
    assert dict(found.endpoint().headers) == {"CF-Access-Client-Id": "a,b", "X": "y: z"}


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"WYOMING_FLUX_SAMPLE_RATE": "fast"}, "WYOMING_FLUX_SAMPLE_RATE: a whole number is needed"),
    ({"WYOMING_FLUX_MIP_OPT_OUT": "maybe"}, "WYOMING_FLUX_MIP_OPT_OUT: yes or no is needed"),
    ({"WYOMING_FLUX_ROUTE": "moon"}, "WYOMING_FLUX_ROUTE: one of auto, worker,"),
    ({"WYOMING_FLUX_TOKEN_FILE": "/nowhere/token"}, "the file /nowhere/token cannot be read"),
    (
        {"WYOMING_FLUX_TOKEN_FILE": "/x", "WYOMING_FLUX_TOKEN": "s3cret"},
        "WYOMING_FLUX_TOKEN and WYOMING_FLUX_TOKEN_FILE are both set",
    ),
]


@pytest.mark.parametrize(("environment", "sentence"), MISTAKES)
def test_a_wrong_variable_is_named(environment: dict[str, str], sentence: str) -> None:
    """The sentence begins with the variable, and holds no secret."""
    with pytest.raises(InvalidSetting) as caught:
        read("serve", **environment)
    assert sentence in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"\n", "is empty"), (b"x" * 300_000, "is too large"), (b"\xff\xfe", "is not text")],
)
def test_a_wrong_file_is_a_mistake(content: bytes, fault: str, tmp_path: Path) -> None:
    """An empty token would be sent as none, and look like a wrong one."""
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(InvalidSetting, match=f"--token-file: the file .* {fault}"):
        read("serve", "--token-file", str(path))


def test_unknown_variables_are_told_with_a_hint() -> None:
    """A misspelt variable would have no effect otherwise."""
    warnings = environment.unknown_variables(
        {"WYOMING_FLUX_WORKR_URL": "x", "WYOMING_FLUX_NAME": "x", "HOME": "/"}
    )
    assert len(warnings) == 1
    assert "WYOMING_FLUX_WORKR_URL" in warnings[0]
    assert "did you mean WYOMING_FLUX_WORKER_URL?" in warnings[0]


AT = ("--worker-url", "wss://x.example")
USAGE: list[tuple[list[str], str]] = [
    (["serve", "--worker-url", "ftp://x"], "--worker-url: the Worker URL must look like"),
    (["serve"], "the URL of your Worker is missing"),
    (["--tok", "x"], "unknown option --tok, did you mean --token-file?"),
    (["serve", "--tok=s3cret"], "unknown option --tok, did you mean --token-file?"),
    (["--worker-ulr", "x"], "unknown option --worker-ulr, did you mean --worker-url?"),
    (["serve", "--token=s3cret"], "a token is not taken from the command line"),
    (["serve", "--token", "s3cret"], "a token is not taken from the command line"),
    (["serv"], "there is no command 'serv', did you mean serve?"),
    (["serve", "--eot-threshold", "7", *AT], "--eot-threshold: must be between 0.5 and 1, not 7.0"),
    (["serve", "--worker-url", "wss://x.example", "--allow", "moon"], "--allow: allow needs"),
    (["serve", "--uri", "moon", *AT], "--uri: must be like tcp://"),
    (["serve", "--worker-url", "wss://x.example", "--model", "nova"], "--model: "),
    (["transcribe"], "name a recording"),
    (["transcribe", "x.wav", "-q", "-v"], "--quiet: it contradicts --verbose"),
    (["serve", "-v", "-q", "--local"], "--quiet: it contradicts --debug"),
    (["transcribe", "x.wav", "--via", "moon"], "--via: must be like"),
    (
        ["transcribe", "x.wav", "--via", "tcp://h:1", "--max-turn", "9"],
        "--max-turn has no effect with --via",
    ),
    (["transcribe", "-", "--raw", "16000"], "--raw: a format looks like 16000:16:1"),
    (["transcribe", "-", "--raw", "7000:16:1"], "--raw: Audio with a sample rate of 7000 Hz"),
    (["health", "--timeout", "0"], "--timeout must be above 0"),
    (["simulate", "--uri", "moon"], "--uri must look like"),
]


@pytest.mark.parametrize(("argv", "sentence"), USAGE, ids=[" ".join(argv) for argv, _ in USAGE])
def test_a_mistake_is_one_sentence_and_exit_code_2(
    argv: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is wrong is told in one line that names the option, without a traceback or a secret."""
    monkeypatch.delenv("WYOMING_FLUX_WORKER_URL", raising=False)
    monkeypatch.setattr("wyoming_flux.cli.set_up_log", lambda **_: None)
    assert main(argv) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert sentence in told.err
    assert "s3cret" not in told.err


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_short_and_complete(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command has a help that fits on two screens and 100 columns."""
    assert main([*([command] if command else []), "--help"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert main([*([command] if command else []), "-h"]) == 0
    assert capsys.readouterr().out.splitlines() == told
    assert len(told) < 80
    assert max(map(len, told)) <= 100


@pytest.mark.parametrize(
    "argv", [["--version"], ["-V"], ["version"], *([name, "-V"] for name in COMMANDS)]
)
def test_version(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The version is printed alone."""
    assert main(argv) == 0
    assert capsys.readouterr().out.strip().count(".") == 2


@pytest.mark.parametrize(("command", "words"), [("serve", "-v"), ("check", "-v"), ("serve", "-q")])
def test_short_options(command: str, words: str) -> None:
    """One letter for more, and one for less."""
    assert read(command, words).values == {"debug" if words == "-v" else "quiet": True}


def test_the_defaults_of_a_command_are_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Where a file is answered otherwise than a satellite, each help says how."""
    for command, option, usual in (
        ("serve", "--answer-on", "(default end-of-turn)"),
        ("transcribe", "--answer-on", "(default: audio-stop for a file, end-of-turn for a micro"),
        ("serve", "--uri", "where to listen: tcp://HOST:PORT or unix:///PATH (default tcp://0.0.0"),
        (
            "health",
            "--uri",
            "whom to ask: tcp://HOST:PORT or unix:///PATH (default: tcp://127.0.0.1",
        ),
        ("health", "--timeout", "(default 5)"),
    ):
        assert main([command, "--help"]) == 0
        told = capsys.readouterr().out
        said = "".join(told.partition(f"  {option}")[2].partition("\n  --")[0].split())
        assert usual.replace(" ", "") in said


@pytest.mark.parametrize("shortened", ["--worker", "--worker-ur", "--real", "--js"])
def test_flags_are_not_shortened(shortened: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A new option never changes the meaning of an old line."""
    assert main(["transcribe", "x.wav", shortened, "x"]) == 2
    assert f"unknown option {shortened}, did you mean --" in capsys.readouterr().err


def test_a_wrong_variable_does_not_matter_where_a_flag_wins() -> None:
    """What is not used is not read, and the help is always there."""
    found = read("serve", "--sample-rate", "8000", WYOMING_FLUX_SAMPLE_RATE="fast")
    assert found.values["sample_rate"] == 8000
