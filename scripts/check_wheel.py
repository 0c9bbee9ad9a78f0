"""Install the wheel in a new environment, as a user would, and train with it. Takes minutes.

Run by hand before a release: `uv run python scripts/check_wheel.py`. It downloads torch unless uv
has it in its cache. tests/test_wheel.py is the short, offline form.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEAVINGS = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "runs", "multirun")
TINY = ["train.steps=2", "train.meta_batch=1", "train.eval_every=2", "train.valid_episodes=2"]
TINY += ["model=transformer", "model.width=16", "model.layers=1", "model.heads=2", "device=cpu"]


def main() -> None:
    """Build, install without extras, train two steps, and ask for what is not installed."""
    uv = shutil.which("uv")
    if uv is None:
        sys.exit("check_wheel.py needs uv: pip install uv")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        shutil.copytree(ROOT, place / "copy", ignore=LEAVINGS)  # a build leaves folders behind
        call(uv, "build", "--wheel", "--out-dir", str(place / "dist"), str(place / "copy"))
        (wheel,) = (place / "dist").glob("*.whl")
        shutil.rmtree(place / "copy")
        python, command = new_environment(uv, place / "venv")
        call(uv, "pip", "install", "--python", python, str(wheel))
        (place / "elsewhere").mkdir()
        check_training(command, place / "elsewhere")
        check_missing_extra(command, place / "elsewhere")
    print("the wheel is sound")


def new_environment(uv: str, folder: Path) -> tuple[str, str]:
    """A virtual environment's interpreter, and where its `metaformer` will be."""
    call(uv, "venv", "--python", sys.executable, str(folder))
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    return str(scripts / "python"), str(scripts / "metaformer")


def check_training(command: str, folder: Path) -> None:
    """Train two steps in a folder that holds no checkout, and evaluate the result."""
    call(command, "train", *TINY, "run_dir=run", cwd=folder)
    call(command, "eval", "ckpt=run", "eval.episodes=2", "device=cpu", cwd=folder)
    for name in ("config.yaml", "metrics.jsonl"):
        if not (folder / "run" / name).is_file():
            sys.exit(f"metaformer train left no {name}")


def check_missing_extra(command: str, folder: Path) -> None:
    """Without learn2learn, asking for it is answered by one line that says what to do."""
    words = [command, "train", *TINY, "run_dir=other", "learner.engine=learn2learn"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    print(done.stderr, end="")
    lines = done.stderr.splitlines()
    if done.returncode != 2 or len(lines) != 1 or "install" not in lines[0]:
        sys.exit("expected exit code 2 and one line that says how to install learn2learn")


def call(*words: str, cwd: Path | None = None) -> None:
    """Run a command to its end, shown as it goes; stop where it fails."""
    print("$", *words, flush=True)
    subprocess.run(words, cwd=cwd, check=True)


if __name__ == "__main__":
    main()
