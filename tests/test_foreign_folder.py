"""A folder of data from elsewhere runs no code, whatever its files are called."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

SCRIPTS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of the name of every module that there is, each of which leaves a mark.

    All of the standard library and of what is installed: more than any interpreter imports.
    """
    folder = tmp_path_factory.mktemp("foreign")
    for name in sys.stdlib_module_names | packages_distributions().keys() | {"metaformer_cli"}:
        if name.isidentifier():
            (folder / f"{name}.py").write_text("open(__file__ + '.ran', 'w').close()\n")
    assert len([*folder.iterdir()]) > 300
    return folder


def ran(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.ran"))


def test_the_trap_works(foreign, environment):
    words = [sys.executable, "-c", "import this"]
    subprocess.run(words, check=True, cwd=foreign, env=environment, stdout=subprocess.DEVNULL)
    assert ran(foreign) == ["this.py.ran"]
    (foreign / "this.py.ran").unlink()


@pytest.mark.parametrize(
    ("launcher", "options"),
    [
        ((), ["train.processes=2"]),
        (("torchrun", "--no-python", "--standalone", "--nproc-per-node=2"), []),
    ],
    ids=["ranks", "torchrun"],
)
def test_processes_run_nothing_of_the_working_folder(
    launcher, options, foreign, tiny, tmp_path, environment
):
    words = [*launcher, "metaformer", "train", *tiny, *options, f"run_dir={tmp_path / 'run'}"]
    for at in (0, len(launcher)):
        words[at] = str(SCRIPTS / Path(words[at]).name)
        if not Path(words[at]).exists():
            pytest.skip(f"needs the installed command {words[at]}")
    done = subprocess.run(
        words, check=False, cwd=foreign, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert ran(foreign) == []


# What a command starts later, it starts as this does.
STARTS = """
import sys
from metaformer_cli.cli import main

if __name__ == "__main__":
    sys.argv[1:] = ["--version"]
    main()
    from metaformer_cli.benchmark.team import Team

    with Team([dict], threads=1) as team:
        print(team.ask("__len__"))
"""


def test_a_team_of_bench_runs_nothing_of_the_working_folder(foreign, tmp_path, environment):
    (tmp_path / "starts.py").write_text(STARTS)
    words = [sys.executable, tmp_path / "starts.py"]
    done = subprocess.run(
        words, check=False, cwd=foreign, env=environment, capture_output=True, text=True
    )
    assert (done.stderr, done.stdout.splitlines()[-1]) == ("", "[0]")
    assert ran(foreign) == []


def test_the_module_runs_nothing_more_of_the_working_folder_once_it_has_begun(metaformer, tmp_path):
    (tmp_path / "hydra.py").write_text("open(__file__ + '.ran', 'w').close()\n")
    assert metaformer("train", "--cfg=job", cwd=tmp_path).returncode == 0
    assert ran(tmp_path) == []
