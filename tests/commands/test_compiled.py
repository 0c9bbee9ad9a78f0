"""Where PyTorch keeps what it compiles."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metaformer_cli.commands.compiled import PLACE, kept_in_cache

Compile = Callable[[], Path]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv(PLACE, raising=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    return tmp_path


def make_place(temporary: Path) -> Path:
    """What PyTorch does when its compiler is imported."""
    place = Path(os.environ.setdefault(PLACE, str(temporary / "torchinductor")))
    place.mkdir(parents=True, exist_ok=True)
    return place


def leaves(folder: Path) -> list[str]:
    """The files and the empty folders."""
    found = [path for path in folder.rglob("*") if path.is_file() or not any(path.iterdir())]
    return sorted(str(path.relative_to(folder)) for path in found)


def test_where_nothing_is_compiled_no_folder_is_left(home):
    with kept_in_cache():
        pass
    with kept_in_cache():
        make_place(home / "tmp")
    assert leaves(home) == ["home", "tmp"]
    assert PLACE not in os.environ


def test_what_is_compiled_stays_where_the_next_run_finds_it(home):
    for name in ("first", "second"):
        with kept_in_cache():
            (make_place(home / "tmp") / name).touch()
    kept = "home/.cache/metaformer/compiled"
    assert leaves(home) == [f"{kept}/first", f"{kept}/second", "tmp"]


def test_where_the_home_is_no_folder_none_is_left_among_temporary_ones_either(home, monkeypatch):
    (home / "file").touch()
    monkeypatch.setenv("HOME", str(home / "file"))
    with kept_in_cache():
        assert make_place(home / "tmp").parent == home / "tmp"
    assert leaves(home) == ["file", "home", "tmp"]


def test_a_place_that_the_user_chose_is_used_and_kept(home, monkeypatch):
    monkeypatch.setenv(PLACE, str(home / "mine"))
    with kept_in_cache():
        make_place(home / "tmp")
    assert leaves(home) == ["home", "mine", "tmp"]


def test_a_command_that_imports_the_compiler_and_compiles_nothing_leaves_nothing(
    tiny_run, tmp_path, environment
):
    rows = "".join(f"{'hello' if i % 2 else 'bye'} {i},{'ab'[i % 2]}\n" for i in range(4))
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}")
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    own = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-m", "metaformer_cli", "export"]
    command += [f"ckpt={tiny_run}", "support=rows.csv", "out=out"]
    subprocess.run(command, cwd=tmp_path, env={**environment, **own}, check=True)
    assert (tmp_path / "out" / "program.pt2").exists()
    assert leaves(tmp_path / "home") == leaves(tmp_path / "tmp") == []
