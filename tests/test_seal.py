"""Seals: any damage to a file or a folder is seen when it is read back."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaformer_cli.seal import SUMS, check_folder, seal_folder, sealed, unsealed

TEXT = "seed: 0\nnaïve: 🙂\n"


def folder_of(place: Path) -> Path:
    (place / "inner").mkdir(parents=True)
    (place / "weights").write_bytes(bytes(range(256)))
    (place / "empty").touch()
    (place / "inner" / "ü  name.json").write_text('{"a": 1}')
    seal_folder(place)
    return place


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    file.write_bytes(content)


def test_what_was_sealed_is_read(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(sealed(TEXT))
    assert unsealed(file) == TEXT
    check_folder(folder_of(tmp_path / "folder"))


@settings(max_examples=50)
@given(bit=st.integers(0, 2**16))
def test_any_flipped_bit_of_a_text_is_refused(tmp_path_factory, bit):
    file = tmp_path_factory.getbasetemp() / "flipped.yaml"
    file.write_text(sealed(TEXT))
    flip(file, bit)
    with pytest.raises(ValueError, match=r"flipped\.yaml is damaged"):
        unsealed(file)


@pytest.mark.parametrize("length", [0, 1, len(TEXT.encode()), len(sealed(TEXT).encode()) - 1])
@pytest.mark.parametrize("rest", [b"", b"\0" * 9])
def test_a_text_that_was_cut_is_refused(tmp_path, length, rest):
    file = tmp_path / "cut.yaml"
    file.write_bytes(sealed(TEXT).encode()[:length] + rest)
    with pytest.raises(ValueError, match=r"cut\.yaml is damaged"):
        unsealed(file)


@settings(max_examples=50)
@given(name=st.sampled_from(["weights", "inner/ü  name.json", SUMS]), bit=st.integers(0, 2**16))
def test_any_flipped_bit_in_a_folder_is_refused_by_the_name_of_its_file(
    tmp_path_factory, name, bit
):
    folder = folder_of(tmp_path_factory.mktemp("sealed") / "folder")
    flip(folder / name, bit)
    with pytest.raises(ValueError, match=f"{name} is damaged") as refused:
        check_folder(folder)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_gone_is_damage_and_one_that_somebody_added_is_none(tmp_path):
    folder = folder_of(tmp_path / "folder")
    (folder / "README.md").write_text("the user's own")
    check_folder(folder)
    (folder / "empty").unlink()
    with pytest.raises(ValueError, match="empty is damaged"):
        check_folder(folder)


def test_sha256sum_checks_a_sealed_folder(tmp_path):
    program = shutil.which("sha256sum")
    if program is None:
        pytest.skip("there is no sha256sum")
    folder = folder_of(tmp_path / "folder")
    for code in (0, 1):
        done = subprocess.run(
            [program, "-c", "--strict", SUMS], check=False, cwd=folder, capture_output=True
        )
        assert done.returncode == code, done
        (folder / "empty").write_text("other")
