"""The integration brings its library: before publication with it, afterwards from an index.

Home Assistant runs in a copy of this environment that has no wyoming-flux, and its own installer of
requirements gets it. The rest of what it needs is there, so nothing is asked of the internet.
"""

import asyncio
import io
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.hass.instance import PYTHON, ROOT, Instance

INTEGRATION = "custom_components/wyoming_flux"
OWN = ("wyoming_flux", "_wyoming_flux", "_editable_impl_wyoming_flux")


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Return the Python of an environment that has everything but the library itself."""
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    (source,) = PYTHON.parents[1].glob("lib/python3*/site-packages")
    (target,) = folder.glob("lib/python3*/site-packages")
    # Links to the same files where that goes: nobody writes into them.
    names = [str(one) for one in source.iterdir() if not one.name.startswith(OWN)]
    link = ["cp", "-a", "-l", *names, str(target)]
    if subprocess.run(link, check=False, capture_output=True).returncode != 0:
        subprocess.run(["cp", "-a", *names, str(target)], check=True)
    shutil.copy2(PYTHON.parent / "uv", folder / "bin" / "uv")
    python = folder / "bin" / "python"
    find = "import importlib.util as u; print(u.find_spec('wyoming_flux'))"
    assert subprocess.check_output([python, "-c", find], cwd=folder) == b"None\n"
    return python


@pytest.fixture(scope="module")
def dist() -> Path:
    """Return the folder with the wheel, built anew."""
    subprocess.run(
        [sys.executable, ROOT / "script" / "release.py"], check=True, capture_output=True
    )
    return ROOT / "dist"


@pytest.fixture
async def begin(environment: Path) -> AsyncGenerator[Any]:
    """Return what starts a Home Assistant on a configuration folder."""
    async with AsyncExitStack() as stack:

        async def start(folder: Path, **variables: str) -> Instance:
            instance = Instance(
                folder, custom=(), python=environment, variables={"UV_OFFLINE": "1", **variables}
            )
            return await stack.enter_async_context(instance)

        yield start


async def says(home_assistant: Instance, stage: Any, worker: Any) -> str:
    """Add the integration as a person does, and return what it hears."""
    step: Mapping[str, object] = {
        "worker_url": worker.url,
        "token": stage.TOKEN,
        "sample_rate": "16000",
        "home_names": True,
    }
    entry = await home_assistant.add_flux(step)
    async with home_assistant.websocket() as socket:
        pipeline = await stage.make_pipeline(socket, await stage.engine_of(socket, entry))
        run = await stage.run_pipeline(socket, pipeline, stage.sample())
    return str(run.text)


async def test_the_trial_folder(begin, dist, stage, worker, tmp_path: Path) -> None:
    """The folder that script/release leaves works in a Home Assistant that has nothing else."""
    config = tmp_path / "config"
    command = [sys.executable, ROOT / "script" / "release.py", "--config", config]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    shutil.copytree(dist / "trial" / "custom_components", config / "custom_components")
    home_assistant = await begin(config)
    assert await says(home_assistant, stage, worker) == stage.SENTENCE
    await home_assistant.stop()
    assert home_assistant.loud() == []


async def test_the_published_integration(begin, dist, stage, worker, tmp_path: Path) -> None:
    """What HACS takes from the archive of a tag finds its library in an index."""
    config = tmp_path / "config"
    command = ["git", "archive", "HEAD", INTEGRATION]
    archive = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(config, filter="data")
    home_assistant = await begin(config, UV_FIND_LINKS=str(dist))
    assert await says(home_assistant, stage, worker) == stage.SENTENCE
    await home_assistant.stop()
    assert home_assistant.loud() == []
