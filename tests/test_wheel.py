"""The wheel: what it holds, and that it works without the checkout that it came from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The interpreter's and the tools' own leavings. Tests and scripts are copied: they must stay out.
LEAVINGS = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "runs", "multirun")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built offline in a copy, so that nothing is left in here."""
    copy = tmp_path_factory.mktemp("wheel") / "copy"
    shutil.copytree(ROOT, copy, ignore=LEAVINGS)
    code = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, capture_output=True)
    (path,) = (copy / "dist").iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)  # installing a pure Python wheel is to unpack it
    return folder


def run(installed: Path, folder: Path, *words: str) -> str:
    """What a command prints in `folder`, with nothing of this checkout but its dependencies."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_it_holds_every_module_and_every_yaml_and_nothing_else(wheel):
    expected = set()
    for room, name in (("metaformer_cli", "metaformer_cli"), ("configs", "metaformer_cli/configs")):
        for path in (ROOT / room).rglob("*"):
            if path.suffix in (".py", ".yaml"):
                expected.add(f"{name}/{path.relative_to(ROOT / room).as_posix()}")
    # Guards: an empty search would agree with an empty wheel.
    assert sum(name.endswith(".py") for name in expected) >= 50
    assert sum("/configs/" in name and name.endswith(".yaml") for name in expected) >= 16
    assert sum("/builtin/" in name and name.endswith(".yaml") for name in expected) >= 10
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        licence = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
    assert names == expected
    assert len(licence) == 1


def test_what_is_imported_is_the_wheel(installed, tmp_path):
    code = "import metaformer_cli.configs as c; print(c.__path__[0])"
    assert run(installed, tmp_path, "-c", code).strip() == str(
        installed / "metaformer_cli" / "configs"
    )


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--help"], "Usage: metaformer COMMAND"),
        (["train", "--cfg", "job"], "engine: functional"),
        (["data"], "builtin: "),
    ],
)
def test_commands_run_from_another_folder_and_find_their_configs(installed, tmp_path, words, shown):
    assert shown in run(installed, tmp_path, "-m", "metaformer_cli", *words)
    assert list(tmp_path.iterdir()) == []
