"""Configurations inside checkpoints and run folders."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from omegaconf import OmegaConf

from metaformer_cli.config.build import build
from metaformer_cli.config.saved import (
    checkpoint_file,
    holds_run,
    read_resumed_config,
    read_saved_config,
    run_folder,
    to_yaml,
)
from metaformer_cli.config.schema import DataCommand
from metaformer_cli.seal import sealed


def test_a_run_folder_means_its_best_checkpoint_then_its_last(make_run):
    folder = make_run(checkpoints=("last", "best"))
    for name in ("best", "last"):
        file = checkpoint_file("run")
        assert file == folder / "checkpoints" / f"{name}.safetensors"
        assert checkpoint_file(str(file)) == file
        assert run_folder(str(file)) == folder
        file.unlink()
    with pytest.raises(ValueError, match=r"run holds no checkpoint: expected .* metaformer train"):
        checkpoint_file("run")
    with pytest.raises(ValueError, match="does not exist"):
        checkpoint_file("missing")


def test_a_checkpoint_outside_a_run_has_the_folder_that_it_lies_in(tmp_path):
    assert run_folder(str(tmp_path / "a.safetensors")) == tmp_path


def test_resuming_asks_for_the_last_checkpoint_of_a_folder_or_for_a_file(make_run):
    folder = make_run(checkpoints=("last", "best"))
    last, best = (folder / "checkpoints" / f"{n}.safetensors" for n in ("last", "best"))
    assert read_resumed_config("run") == read_saved_config(str(last))
    assert read_resumed_config(str(best)) == read_saved_config(str(best))
    last.write_bytes(last.read_bytes()[:99])
    with pytest.raises(ValueError, match=r"last\.safetensors is not a whole safetensors file"):
        read_resumed_config("run")
    last.unlink()
    with pytest.raises(ValueError, match=r"last\.safetensors is not there, and .*best.* init="):
        read_resumed_config("run")


def test_before_the_first_checkpoint_a_run_is_what_its_config_yaml_says(make_run):
    folder = make_run(checkpoints=())
    (folder / "config.yaml").unlink()
    assert read_resumed_config("run") is None
    tree = {"task": {"name": "fewshot_text"}, "data": {"name": "builtin"}, "seed": 5}
    config = build({**tree, "model": {"name": "transformer"}}, DataCommand)
    (folder / "config.yaml").write_text(sealed(to_yaml(config)))
    assert read_resumed_config("run") == asdict(config)
    for damage in ("", "seed: 5\n", (folder / "config.yaml").read_text().replace("5", "6", 1)):
        (folder / "config.yaml").write_text(damage)
        with pytest.raises(ValueError, match=r"config\.yaml is damaged.* train anew") as refused:
            read_resumed_config("run")
        assert "\n" not in str(refused.value)


def test_a_folder_holds_a_run_once_one_has_begun(make_run, tmp_path):
    assert holds_run(str(make_run()))
    assert not holds_run(str(tmp_path / "nowhere"))


def test_yaml_holds_every_value():
    groups = {"data": {"name": "builtin"}, "model": {"name": "transformer"}}
    tree = {"task": {"name": "fewshot_text", "ways": 3}, **groups, "seed": 5}
    text = to_yaml(build(tree, DataCommand))
    config = OmegaConf.create(text)
    assert (config.task.ways, config.task.min_ways, config.data.name, config.seed) == (
        *(3, None),
        *("builtin", 5),
    )
