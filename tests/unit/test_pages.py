"""What the pages name exists: links, pictures, commands with their options; one name for each."""

import itertools
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wyoming_flux.cli import options

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
)
IMAGES = ROOT / "docs" / "images"
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
# A word that stands for one of the reader's own.
TOKEN_FILE = "flux-token.txt"
# As prose cannot have it where angle brackets are markup: the reference, made from the help.
WORKER = ("https://flux.<account>.workers.dev", "https://flux.ACCOUNT.workers.dev")


def text_of(name: str) -> str:
    """Read a page."""
    return (ROOT / name).read_text("utf-8")


def without_code(text: str) -> str:
    """Leave out what is no prose: code blocks and spans."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def links_of(text: str) -> list[str]:
    """Return where the links and pictures of a page lead within the repository."""
    found = re.findall(r"\]\(([^)\s]+)\)", without_code(text))
    return [one for one in found if not re.match(r"[a-z]+:", one)]


def anchors_of(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    anchors: list[str] = []
    for title in re.findall(r"(?m)^#+ +(.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        same = anchors.count(anchor)
        anchors.append(f"{anchor}-{same}" if same else anchor)
    return {*anchors, *re.findall(r'<a (?:id|name)="([^"]+)"', text)}


def lines_of(text: str) -> Iterator[str]:
    """Give what can be typed: code spans, and the lines of code blocks, continued ones as one."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose)
    for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()


def commands_of(text: str) -> list[list[str]]:
    """Return the words of each command line of ours, without what a shell takes for itself."""
    found = []
    for line in lines_of(text):
        begun = re.search(r"(?:^|[\s/|$(])wyoming-flux +(?=[a-z-])(.*)", line)
        if begun is None:
            continue
        words = shlex.split(
            re.split(r"[|;&]| >|\)$", begun.group(1))[0].replace("…", ""), comments=True
        )
        if words and (words[0].startswith("-") or words[0] in options.COMMANDS):
            found.append(words)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    """Each link within the repository leads to a file, and to a heading that is there."""
    for link in links_of(text_of(name)):
        path, _, anchor = link.partition("#")
        page = (ROOT / name).parent / path if path else ROOT / name
        assert page.exists(), f"{name}: {link}"
        if anchor:
            assert anchor in anchors_of(page.read_text("utf-8")), f"{name}: {link}"


def test_links_are_found() -> None:
    """What reads the pages finds what is in them: a test that reads nothing proves nothing."""
    assert "docs/worker.md#what-it-costs" in links_of(text_of("README.md"))
    assert "what-it-costs" in anchors_of(text_of("docs/worker.md"))
    assert ["serve", "--local"] in commands_of(text_of("README.md"))
    assert sum(len(commands_of(text_of(name))) for name in NAMES) > 40


def pages_from(name: str) -> set[str]:
    """Return the pages to which one page leads."""
    files = ((ROOT / name).parent / link.partition("#")[0] for link in links_of(text_of(name)))
    return {str(file.resolve().relative_to(ROOT)) for file in files} & set(NAMES)


def test_the_readme_leads_to_each_page() -> None:
    """To what is in docs with one click, to all else with two: a page without a way is not read."""
    one_click = pages_from("README.md")
    assert {name for name in NAMES if name.startswith("docs/")} <= one_click
    two_clicks = one_click.union(*map(pages_from, one_click))
    assert set(NAMES) <= {"README.md", *two_clicks}


# What an operator asks, and the heading that answers.
OPERATOR = {
    "how it is started and stopped": "docs/reliability.md#start-and-stop",
    "what one client may do": "docs/security.md#limits-of-the-port",
    "what can be spent": "docs/worker.md#what-can-be-spent-and-what-cannot-be-bounded",
    "how much one server carries, and several": "docs/reliability.md#load",
    "what to do when Home Assistant does not hear": "docs/home-assistant.md#troubleshooting",
    "what to do when the server does not": "docs/server.md#when-something-is-wrong",
    "what a refusal means": "docs/endpoints.md#what-can-come-back",
}


def test_the_readme_leads_an_operator_to_the_answer() -> None:
    """Each of these questions is one click away (that the heading exists is tested above)."""
    assert set(OPERATOR.values()) <= set(links_of(text_of("README.md")))


def test_pictures_are_used() -> None:
    """Each picture is in a page, with words for who does not see it."""
    used = {
        (((ROOT / name).parent) / path).resolve()
        for name in NAMES
        for alt, path in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text_of(name))
        if len(alt) > 20 and not path.startswith("http")
    }
    assert {path.resolve() for path in IMAGES.iterdir()} <= used


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*.svg")), ids=lambda path: path.name)
def test_drawings_need_no_style_sheet(path: Path) -> None:
    """Each has a light ground of its own, and says its colours itself: legible on dark, too."""
    drawn = path.read_text("utf-8")
    assert "<style" not in drawn
    assert "class=" not in drawn
    size = re.search(r'viewBox="0 0 (\d+) (\d+)"', drawn)
    ground = re.search(r'<rect width="(.*?)" height="(.*?)".* fill="#fff(?:fff)?"/>', drawn)
    assert size is not None
    assert ground is not None
    assert ground.groups() in (size.groups(), ("100%", "100%"))


@pytest.mark.parametrize("name", NAMES)
def test_commands_can_be_typed(name: str) -> None:
    """Each option of a command line stands with a command that has it."""
    for words in commands_of(text_of(name)):
        command = "serve" if words[0].startswith("-") else words[0]
        parsers = options.make_parser(command)[1]
        known = parsers[command]._option_string_actions
        for word in words:
            flag = word.partition("=")[0]
            if flag.startswith("-") and flag != "-" and flag not in ("--help", "--version"):
                assert flag in known, f"{name}: wyoming-flux {' '.join(words)}"


@pytest.mark.parametrize("name", NAMES)
def test_scripts_exist(name: str) -> None:
    """Each script that a page names is there, and can be run."""
    for script in re.findall(r"(?<![\w/.-])script/([a-z][\w.-]*\w)", text_of(name)):
        assert (ROOT / "script" / script).exists(), f"{name}: script/{script}"


@pytest.mark.parametrize("name", NAMES)
def test_variables_exist(name: str) -> None:
    """Each variable of ours that a page names is one of a setting."""
    settings = options.SETTINGS["serve"].values()
    known = {options.variable_of(one) for one in settings}
    known |= {file for one in settings if (file := options.file_variable_of(one)) is not None}
    for variable in re.findall(r"WYOMING_FLUX_[A-Z_]*[A-Z]", text_of(name)):
        assert variable in known, f"{name}: {variable}"


@pytest.mark.parametrize("name", NAMES)
def test_one_name_for_each_thing(name: str) -> None:
    """The token's file and the Worker's address are called the same in all pages."""
    if name == "CHANGELOG.md":
        return
    text = text_of(name)
    for words in commands_of(text):
        for flag, file in itertools.pairwise(words):
            if flag == "--token-file":
                assert file == TOKEN_FILE, f"{name}: --token-file {file}"
    for worker in re.findall(r"https?://[^\s`/]*\.workers\.dev", text):
        assert worker in WORKER, f"{name}: {worker}"
