"""The workflow of a release: nobody is offered what cannot be installed, whichever step fails.

Its steps run as they stand in release.yml, in a shell, with stand-ins of `gh`, `docker` and `pip`
that write down how they were called.
"""

import base64
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
JOBS: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text("utf-8"))[
    "jobs"
]
CONFIG = (ROOT / "deploy/app/config.yaml").read_text("utf-8")

STAND_IN = """\
#!/bin/sh
name=${0##*/}
echo "$name $*" >>"$CALLS"
case "$name $*" in
    *"$FAILS"*) exit 1 ;;
    *"--jq .content"*) cat "$CONTENT" ;;
    *"--jq .sha"*) echo 0123abc ;;
    *"inspect --format {{.Manifest.Digest}}"*) echo sha256:0 ;;
    *"inspect --format {{.State.ExitCode}}"*) echo 0 ;;
esac
"""


def before(job: str) -> set[str]:
    """Return all jobs that must have succeeded before *job* begins."""
    needs = JOBS[job].get("needs", [])
    direct = {needs} if isinstance(needs, str) else set(needs)
    return direct.union(*(before(one) for one in direct))


class Runner:
    """Runs the steps of a job until one fails, and knows what was called."""

    def __init__(self, folder: Path) -> None:
        """Take a folder for the stand-ins."""
        self.folder = folder
        self.calls_file = folder / "calls"
        self.calls_file.touch()
        content = folder / "content"
        content.write_bytes(base64.encodebytes(CONFIG.encode()))
        for name in ("gh", "docker", "pip", "sleep"):
            stand_in = folder / name
            stand_in.write_text(STAND_IN)
            stand_in.chmod(0o755)
        self.environment = {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "CALLS": str(self.calls_file),
            "CONTENT": str(content),
            "FAILS": "nothing fails",
            "GITHUB_REF_NAME": "7.8.9",
            "GITHUB_ACTOR": "owner",
            "GITHUB_OUTPUT": str(folder / "output"),
            "GH_REPO": "wyoming-flux/wyoming-flux",
            "IMAGE": "ghcr.io/wyoming-flux/wyoming-flux",
            "TOKEN": "secret",
        }

    def run(self, job: str, **variables: str) -> bool:
        """Run the job's own steps; return whether all succeeded."""
        for step in JOBS[job]["steps"]:
            if "run" not in step:
                continue
            # As GitHub runs a step.
            done = subprocess.run(
                ["bash", "-e", "-c", step["run"]],
                cwd=self.folder,
                env={**self.environment, **variables},
                capture_output=True,
                check=False,
            )
            if done.returncode != 0:
                return False
        return True

    @property
    def calls(self) -> list[str]:
        """What was called, in order."""
        return self.calls_file.read_text().splitlines()

    def written(self) -> str:
        """Return the app's configuration that was committed."""
        (call,) = (one for one in self.calls if "--method PUT" in one)
        found = re.search(r"--field content=(\S+)", call)
        assert found is not None
        return base64.b64decode(found[1]).decode()


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """Something that runs steps."""
    return Runner(tmp_path)


def test_the_order_of_the_jobs() -> None:
    """The draft comes before anything is uploaded; what is seen comes after a stranger has it."""
    assert {"build", "draft"} <= before("pypi")
    assert {"build", "draft"} <= before("images")
    assert before("fetch") == set(JOBS) - {"fetch", "publish"}
    assert before("publish") == set(JOBS) - {"publish"}


def test_permissions_are_the_least() -> None:
    """Each job says what it may; who fetches as a stranger may nothing."""
    allowed = {name: set(job["permissions"]) for name, job in JOBS.items()}
    signs = {"id-token", "attestations"}
    assert allowed == {
        "build": {"contents"},
        "draft": {"contents", *signs},
        "image": {"contents", "packages"},
        "images": {"packages", *signs},
        "pypi": {"id-token"},
        "fetch": set(),
        "publish": {"contents"},
    }


def test_the_draft_is_a_draft(runner: Runner) -> None:
    """HACS sees releases, not drafts; the tag must be there already."""
    assert runner.run("draft")
    (call,) = runner.calls
    assert call.startswith("gh release create 7.8.9 ")
    assert {"--draft", "--verify-tag"} <= set(call.split())


def test_the_app_has_the_ear_and_the_server_has_not(runner: Runner) -> None:
    """Each target is built once, with its own argument; only what answered is pushed."""
    assert runner.run("image", PLATFORM="arm64", ARCH="aarch64")
    builds = [one for one in runner.calls if one.startswith("docker buildx build")]
    server, app = builds
    assert "--target server" in server
    assert "EAR=0" in server
    assert "--target app" in app
    assert "EAR=1" in app
    assert all("BUILD_VERSION=7.8.9 --build-arg BUILD_ARCH=aarch64" in one for one in builds)
    pushed = [one for one in runner.calls if one.startswith("docker push")]
    name = runner.environment["IMAGE"]
    assert pushed == [f"docker push {name}{suffix}:7.8.9-arm64" for suffix in ("", "-app")]


def test_what_does_not_answer_is_not_pushed(tmp_path: Path) -> None:
    """The image is tried before anybody can pull it."""
    runner = Runner(tmp_path)
    assert not runner.run("image", PLATFORM="amd64", ARCH="amd64", FAILS="tried wyoming-flux")
    assert not [one for one in runner.calls if one.startswith("docker push")]


def test_a_stranger_fetches_all_of_it(runner: Runner) -> None:
    """The library and both images for both processors, without a login."""
    assert runner.run("fetch")
    assert not [one for one in runner.calls if "login" in one]
    assert "pip download --no-deps --no-cache-dir wyoming-flux==7.8.9" in runner.calls
    name = runner.environment["IMAGE"]
    assert {one for one in runner.calls if one.startswith("docker")} == {
        f"docker pull --platform linux/{platform} {name}{suffix}:7.8.9"
        for platform in ("amd64", "arm64")
        for suffix in ("", "-app")
    }


@pytest.mark.parametrize("job", ["image", "images", "fetch"])
def test_an_owner_with_capitals(runner: Runner, job: str) -> None:
    """Names of images have small letters alone, whatever the repository is called."""
    name = "ghcr.io/Some-One/Else"
    assert runner.run(job, IMAGE=name, SUFFIX="-app", PLATFORM="arm64", ARCH="aarch64")
    named = [one for one in runner.calls if "some-one/else" in one]
    assert named
    assert not [one for one in runner.calls if "Some-One" in one]


@pytest.mark.parametrize("fails", ["pip download", "pull --platform linux/arm64"])
def test_what_a_stranger_cannot_fetch_is_not_published(runner: Runner, fails: str) -> None:
    """A package that is still private, or not there yet, stops the release."""
    assert not runner.run("fetch", FAILS=fails)


def test_the_apps_version_is_committed_last(runner: Runner) -> None:
    """After the release is public; nothing but the version changes."""
    assert runner.run("publish")
    assert runner.calls[0] == "gh release edit 7.8.9 --draft=false"
    assert "--method PUT" in runner.calls[-1]
    changed = [
        (old, new)
        for old, new in zip(CONFIG.splitlines(), runner.written().splitlines(), strict=True)
        if old != new
    ]
    (old, new) = changed[0]
    assert len(changed) == 1
    assert old.startswith("version: ")
    assert new == "version: 7.8.9"


def test_a_release_that_cannot_be_published_offers_no_app(runner: Runner) -> None:
    """The store would offer a version of which there is no release."""
    assert not runner.run("publish", FAILS="gh release edit")
    assert not [one for one in runner.calls if "--method PUT" in one]
