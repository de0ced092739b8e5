"""Options from the command line, the environment and files."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from wyoming_flux.cli import configure, main, values
from wyoming_flux.cli.options import OPTIONS, Option, options_of
from wyoming_flux.cli.parser import add_options, make_parser
from wyoming_flux.errors import InvalidSetting

DESIGNED = (
    "--uri --worker-url --route --token-file --header-file --sample-rate --model --language"
    " --keyterm --keyterms-file --sensitivity --eot-threshold --eager-eot-threshold"
    " --eot-timeout-ms --mip-opt-out --tag --answer-on --no-speech-timeout --max-turn"
    " --wake-phrase --external-vad --name --allow --max-connections --daily-minutes --zeroconf"
    " --log-format --debug"
).split()

# One value that works for each option that is not free text.
VALID = {
    "worker_url": "wss://flux.example.workers.dev",
    "token": "s3cret-token",
    "header": "X-Name: value",
    "route": "worker",
    "sample_rate": "16000",
    "eot_threshold": "0.7",
    "eot_timeout_ms": "2000",
    "eager_eot_threshold": "0.5",
    "no_speech_timeout": "8",
    "max_turn": "20",
    "max_connections": "5",
    "daily_minutes": "1.5",
    "mip_opt_out": "yes",
    "external_vad": "yes",
    "debug": "yes",
    "log_format": "json",
}


def read(command: str, *argv: str, **environment: str) -> values.Values:
    """Read the options of a command."""
    parser = make_parser(command, "")
    add_options(parser, command)
    return values.read(command, parser.parse_known_flags(list(argv)), environment)


def test_serve_has_the_options_of_the_design() -> None:
    """The list of options is the one in the design, no more and no less."""
    assert sorted(option.flag for option in options_of("serve")) == sorted(DESIGNED)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_each_option_has_a_variable_and_a_file(option: Option, tmp_path: Path) -> None:
    """Flag, variable and file give the same value."""
    text = VALID.get(option.name, "some text")
    path = tmp_path / "value"
    path.write_text(f"{text}\n")
    command = next(iter(option.commands))
    found = [read(command, **{option.variable: text})]
    if option.file_variable is not None:
        found.append(read(command, **{option.file_variable: str(path)}))
    if option.switch:
        found.append(read(command, option.flag))
    else:
        found.append(read(command, option.flag, str(path) if option.secret else text))
    assert all(one.given == found[0].given for one in found)
    assert option.name in found[0].given
    assert option.variable == "WYOMING_FLUX_" + option.name.upper()


def test_the_command_line_wins_over_the_environment() -> None:
    """A flag is meant for this run, a variable for all."""
    found = read("serve", "--name", "here", WYOMING_FLUX_NAME="there")
    assert found.text("name") == "here"
    assert found.sources["name"] == "--name"


def test_an_empty_variable_is_not_set() -> None:
    """Compose files hand over variables that nobody has filled in."""
    assert read("serve", WYOMING_FLUX_NAME="", WYOMING_FLUX_TOKEN_FILE=" ").given == {}


def test_repeated_options() -> None:
    """Flags are repeated; variables and files hold several values."""
    assert read("serve", "--keyterm", "Nabu", "--keyterm", "Casa").texts("keyterm") == (
        "Nabu",
        "Casa",
    )
    assert read("serve", WYOMING_FLUX_KEYTERM="Nabu, Casa\nFlux").texts("keyterm") == (
        "Nabu",
        "Casa",
        "Flux",
    )


@pytest.mark.parametrize("word", ["none", "None", ""])
def test_no_wake_phrases(word: str) -> None:
    """All wake phrases can be taken away."""
    found = read("serve", "--wake-phrase", word)
    assert configure.turn_settings(found).wake_phrases == ()


def test_a_switch_can_be_off() -> None:
    """A variable can say no."""
    assert read("serve", WYOMING_FLUX_DEBUG="off").get("debug") is False


@pytest.mark.parametrize(
    ("argv", "name"),
    [((), None), (("--zeroconf",), ""), (("--zeroconf", "kitchen"), "kitchen")],
)
def test_zeroconf_takes_a_name_or_none(argv: tuple[str, ...], name: str | None) -> None:
    """Without a name the usual one is announced."""
    assert read("serve", *argv).text("zeroconf") == name


def test_headers_keep_their_commas(tmp_path: Path) -> None:
    """Headers are separated by lines alone, and comments are left out."""
    path = tmp_path / "headers"
    path.write_text("# Cloudflare Access\nCF-Access-Client-Id: a,b\nX: y: z\n")
    found = read("serve", "--worker-url", "wss://x.example", "--header-file", str(path))
    assert dict(configure.endpoint(found).headers) == {"CF-Access-Client-Id": "a,b", "X": "y: z"}


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


def test_an_empty_file_is_a_mistake(tmp_path: Path) -> None:
    """An empty token would be sent as none, and look like a wrong one."""
    path = tmp_path / "token"
    path.write_text("\n")
    with pytest.raises(InvalidSetting, match=r"--token-file: the file .* is empty"):
        read("serve", "--token-file", str(path))


def test_unknown_variables_are_told_with_a_hint() -> None:
    """A misspelt variable would have no effect otherwise."""
    warnings = values.unknown_variables(
        {"WYOMING_FLUX_WORKR_URL": "x", "WYOMING_FLUX_NAME": "x", "HOME": "/"}
    )
    assert len(warnings) == 1
    assert "WYOMING_FLUX_WORKR_URL" in warnings[0]
    assert "did you mean WYOMING_FLUX_WORKER_URL?" in warnings[0]


def test_secrets_are_not_shown() -> None:
    """Neither the values nor what is made of them print the token."""
    found = read(
        "serve", WYOMING_FLUX_TOKEN="s3cret", WYOMING_FLUX_WORKER_URL="wss://x.workers.dev"
    )
    assert found.text("token") == "s3cret"
    assert "s3cret" not in repr(found)
    assert "s3cret" not in repr(configure.endpoint(found))


USAGE: list[tuple[list[str], str]] = [
    (["serve", "--worker-url", "ftp://x"], "--worker-url: the Worker URL must look like"),
    (["serve"], "the URL of your Worker is missing"),
    (["--worker-ulr", "x"], "unknown option --worker-ulr, did you mean --worker-url?"),
    (["serve", "--token=s3cret"], "a token is not taken from the command line"),
    (["serve", "--token", "s3cret"], "a token is not taken from the command line"),
    (["serv"], "there is no command 'serv', did you mean serve?"),
    (["serve", "--worker-url", "ws://x.example", "--eot-threshold", "7"], "--eot-threshold: "),
    (["serve", "--worker-url", "wss://x.example", "--allow", "moon"], "--allow: allow needs"),
    (["serve", "--worker-url", "wss://x.example", "--uri", "moon"], "--uri: uri must be like"),
    (["serve", "--worker-url", "wss://x.example", "--model", "nova"], "--model: "),
    (["transcribe"], "name a WAV file"),
    (["transcribe", "x.wav", "--via", "moon"], "--via: uri must be like"),
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
    monkeypatch.setattr("wyoming_flux.cli.logs.set_up", lambda **_: None)
    assert main(argv) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert sentence in told.err
    assert "s3cret" not in told.err


@pytest.mark.parametrize("command", ["", "serve", "transcribe", "check", "health", "simulate"])
def test_help_is_short_and_complete(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command has a help that fits on two screens and 100 columns."""
    assert main([*([command] if command else []), "--help"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert len(told) < 75
    assert max(map(len, told)) <= 100


@pytest.mark.parametrize("argv", [["--version"], ["serve", "--version"]])
def test_version(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The version is printed alone."""
    assert main(argv) == 0
    assert capsys.readouterr().out.strip().count(".") == 2


def test_arguments_stay_a_namespace() -> None:
    """Flags are not shortened, so that a new option never changes the meaning of an old line."""
    parser = make_parser("serve", "")
    add_options(parser, "serve")
    with pytest.raises(SystemExit):
        parser.parse_known_flags(["--worker", "x"])
    assert isinstance(parser.parse_known_flags([]), argparse.Namespace)
