"""Checkpoints: whole, exact, and never code."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metaformer_cli.training.checkpoint import (
    Checkpoint,
    Progress,
    digest,
    fit,
    load,
    save,
    write,
)
from metaformer_cli.training.checkpoint_header import (
    BEST,
    FORMAT,
    LAST,
    VALIDATED,
    read_header,
)

CHECKPOINT = Checkpoint(
    meta={
        "encoder.weight": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
        "special": torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e-45]),
        "scalar": torch.tensor(0.1, dtype=torch.float64),
        "short": torch.tensor([0.1, 3.0], dtype=torch.bfloat16).float(),
        "transposed": torch.arange(6.0).reshape(2, 3).T,
        "empty": torch.zeros(0, 2),
    },
    optimiser={
        "encoder.weight/exp_avg": torch.ones(3, 4),
        "encoder.weight/step": torch.tensor(7.0),
    },
    progress=Progress(7, 0.1 + 0.2, 5, 1, losses=[1 / 3, 1e-300], scores=[0.25, 0.75]),
    config={"task": {"name": "fewshot_text", "min_ways": None}, "run_dir": "läufe/🚀", "lr": 1e-3},
    state={"task": '{"model": "naïve 🙂\\n"}', "model": ""},
    data={"name": "ü.csv", "groups": {"a": [1, "f0", "0a"]}},
)


def test_what_is_saved_is_loaded_to_the_last_bit(tmp_path, bits):
    save(tmp_path / "a", CHECKPOINT)
    loaded = load(tmp_path / "a")
    for ours, theirs in ((CHECKPOINT.meta, loaded.meta), (CHECKPOINT.optimiser, loaded.optimiser)):
        assert ours.keys() == theirs.keys()
        assert all(bits(ours[name], theirs[name]) for name in ours)
    assert loaded.progress == CHECKPOINT.progress
    assert loaded.config == CHECKPOINT.config
    assert loaded.state == CHECKPOINT.state
    assert loaded.data == CHECKPOINT.data
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
)


@settings(max_examples=40, deadline=None)
@given(
    shapes=st.dictionaries(
        st.text(min_size=1, max_size=9).filter(lambda name: name != "__metadata__"),
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=3)),
    ),
    note=st.text(),
)
def test_any_tensors_are_read_by_safetensors_as_they_were_written(tmp_path_factory, shapes, note):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    tensors = {
        name: (10 * torch.randn(shape, generator=torch.Generator().manual_seed(i))).to(dtype)
        for i, (name, (dtype, shape)) in enumerate(shapes.items())
    }
    with path.open("wb") as stream:
        write(stream, tensors, {"note": note})
    found = safetensors.torch.load_file(path)
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)
    with safetensors.safe_open(path, "pt") as stream:
        assert stream.metadata() == {"note": note}


class Payload:
    """When unpickled, makes the file `hacked`."""

    def __reduce__(self):
        return os.mkdir, ("hacked",)


def torch_pickle(path: Path) -> None:
    torch.save({"state_dict": Payload()}, path)


def raw_pickle(protocol: int):
    return lambda path: path.write_bytes(pickle.dumps(Payload(), protocol=protocol))


@pytest.mark.parametrize("write", [torch_pickle, *map(raw_pickle, (0, 2, 3, 4, 5))])
def test_a_pickle_is_refused_and_never_run(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    evil = tmp_path / "evil"  # torch.load takes no suffix but its own for a pickle
    write(evil)
    for read in (load, read_header):
        with pytest.raises(ValueError, match=r"expected a metaformer|can run code") as error:
            read(evil)
        assert "\n" not in str(error.value)
        assert str(evil) in str(error.value)
    assert not Path("hacked").exists()
    torch.load(evil, weights_only=False) if write is torch_pickle else pickle.loads(  # noqa: S301
        evil.read_bytes()
    )
    assert Path("hacked").exists(), "the payload works, so not running it means something"


WEIGHTS = {"meta/w": torch.ones(2)}


def metadata(**changes: object) -> dict[str, str]:
    values: dict[str, object] = {
        "format": FORMAT,
        "config": {},
        "state": {},
        "progress": {},
        "data": {},
        "tensors": digest(WEIGHTS),
    }
    return sealed({"metaformer": json.dumps(values | changes)})


def sealed(values: dict[str, str]) -> dict[str, str]:
    return {**values, "sha256": hashlib.sha256(values["metaformer"].encode()).hexdigest()}


FORMAT_1 = {
    "metaformer": json.dumps({"format": 1, "config": {}, "tokenizer": "{}", "progress": {}})
}
FORMAT_3 = {"metaformer": json.dumps({"format": 3, "config": {}, "state": {}, "progress": {}})}


def foreign(values: dict[str, str] | None):
    return safetensors.torch.save(WEIGHTS, metadata=values)


def progress(**changes: object) -> dict[str, object]:
    values: dict[str, object] = {
        "step": 1,
        "best": 0.5,
        "best_step": 1,
        "stale": 0,
        "losses": [],
        "scores": [],
        "others": {},
        "best_scores": [],
        "figures": [],
    }
    return values | changes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a whole safetensors file"),
        (b"garbage" * 99, "not a whole safetensors file"),
        (b"\xff" * 99, "not a whole safetensors file"),
        (foreign(None), "of another program"),
        (foreign({"format": "pt"}), "of another program"),
        (foreign(metadata(format=5)), "checkpoint format 5: this metaformer reads 4; upgrade"),
        (foreign(FORMAT_3), r"older metaformer \(checkpoint format 3; .* reads 4\): train anew"),
        (foreign(FORMAT_1), r"older metaformer \(checkpoint format 1; .* reads 4\): train anew"),
        (foreign({"metaformer": metadata()["metaformer"]}), "its header is not what was written"),
        (foreign(metadata() | {"sha256": "0" * 64}), "its header is not what was written"),
        (foreign(metadata(format=5) | {"sha256": ""}), "its header is not what was written"),
        (foreign(metadata(config=[])), "its header is not what was written"),
        (foreign(sealed({"metaformer": "{"})), "its header is not what was written"),
        (foreign(sealed({"metaformer": "[]"})), "its header is not what was written"),
        (foreign(sealed({"metaformer": "[" * 99999})), "its header is not what was written"),
        (foreign(metadata(state=None)), "its header is not what was written"),
        (foreign(metadata(state="{}")), "its header is not what was written"),
        (foreign(metadata(state={"task": {}})), "its header is not what was written"),
        (foreign(metadata(progress=None)), "its header is not what was written"),
        (foreign(metadata(data=None)), "its header is not what was written"),
        (foreign(metadata(tensors=None)), "its header is not what was written"),
        (foreign(metadata(tensors="0" * 64)), "weights are not those that were written"),
        (foreign(metadata(progress={})), "how far training had come"),
        (foreign(metadata(progress=progress(step="1"))), "how far training had come"),
        (foreign(metadata(progress=progress(extra=1))), "how far training had come"),
        (foreign(metadata(progress=progress(losses=None))), "how far training had come"),
        (foreign(metadata(progress=progress(best="0.5"))), "how far training had come"),
        (foreign(metadata(progress=progress(losses=["1"]))), "how far training had come"),
        (foreign(metadata(progress=progress(others={"a": [1.0, "1"]}))), "how far training had"),
        (foreign(metadata(progress=progress(step=None))), "how far training had come"),
        (foreign(metadata(progress=progress(figures=[1]))), "how far training had come"),
        (foreign(metadata(progress=progress(figures=[{"loss": 1.0}]))), "how far training had"),
        (foreign(metadata(progress=progress(figures=[{"step": 1, "a": ""}]))), "how far training"),
    ],
)
def test_what_is_no_checkpoint_gets_one_line(tmp_path, content, message):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_valid_form_of_those_headers_is_read(tmp_path):
    (tmp_path / "x").write_bytes(foreign(metadata(progress=progress())))
    assert load(tmp_path / "x").progress == Progress(1, 0.5, 1)


def test_before_the_first_validation_there_is_no_best(tmp_path):
    save(tmp_path / "a", replace(CHECKPOINT, progress=Progress(3)))
    assert load(tmp_path / "a").progress == Progress(3, best=None)


def test_cut_short_anywhere_it_is_refused(tmp_path):
    save(tmp_path / "whole", CHECKPOINT)
    content = (tmp_path / "whole").read_bytes()
    for length in {0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 8, len(content) - 1}:
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(ValueError, match="not a whole safetensors file"):
            load(tmp_path / "cut")


def exactly(checkpoint: Checkpoint) -> list[object]:
    """All that a checkpoint holds, to the bit: NaN is itself, and 0 is not -0."""
    groups = [
        {name: (own.dtype, own.shape, own.numpy().tobytes()) for name, own in group.items()}
        for group in (checkpoint.meta, checkpoint.optimiser)
    ]
    return [*groups, replace(checkpoint, meta={}, optimiser={})]


@settings(max_examples=150)
@given(place=st.integers(0, 2**20), zeros=st.sampled_from([0, 1, 64, 2**20]))
def test_a_flipped_bit_or_a_zeroed_block_anywhere_is_refused_or_is_not_read(
    tmp_path_factory, place, zeros
):
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    save(path, CHECKPOINT)
    content = bytearray(path.read_bytes())
    start = place // 8 % len(content)
    if zeros:
        end = min(start + zeros, len(content))
        content[start:end] = bytes(end - start)
    else:
        content[start] ^= 1 << place % 8
    path.write_bytes(content)
    try:
        found = load(path)
    except ValueError as error:
        found, said = CHECKPOINT, str(error)
    else:  # blanks that fill the header up, or bytes that were zero
        said = str(path)
    assert exactly(found) == exactly(CHECKPOINT)
    assert str(path) in said
    assert "\n" not in said


@pytest.mark.parametrize("place", [0, 9, -1], ids=["the length", "the header", "a weight"])
def test_the_line_on_damage_names_what_is_whole_beside_it(tmp_path, place):
    best, last, kept = (tmp_path / name for name in (BEST, LAST, VALIDATED.format(4)))
    for step, path in enumerate((best, last, kept), start=4):
        save(path, replace(CHECKPOINT, progress=Progress(step)))

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)

    reads = [load] if place == -1 else [load, read_header]
    damage(best)
    for read in reads:
        with pytest.raises(ValueError, match=rf"whole is {last}, of step 5 .*{kept}.* resume=RUN"):
            read(best)
    damage(last)
    for read in reads:
        with pytest.raises(ValueError, match=rf"whole is {kept}, of step 6: .*ckpt=.* init="):
            read(last)
    damage(kept)
    for read in reads:
        with pytest.raises(ValueError, match="; give another one, or train anew"):
            read(last)


def test_another_safetensors_file_beside_it_is_not_called_whole(tmp_path):
    (tmp_path / BEST).write_bytes(foreign(None))
    (tmp_path / LAST).write_bytes(b"cut")
    with pytest.raises(ValueError, match="; give another one, or train anew"):
        load(tmp_path / LAST)


def test_a_missing_file_is_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")


def test_a_write_that_fails_leaves_the_old_one_whole(tmp_path):
    path = tmp_path / "a"
    save(path, CHECKPOINT)
    before = path.read_bytes()
    big = replace(CHECKPOINT, meta={"w": torch.zeros(100_000)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            save(path, big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


class TestFit:
    EXPECTED = {"a": torch.zeros(2, 3), "b": torch.zeros(2, dtype=torch.float64)}  # noqa: RUF012
    PATH = Path("some.safetensors")

    def test_names_order_and_types_are_those_expected(self):
        found = fit({"b": torch.ones(2), "a": torch.ones(2, 3)}, self.EXPECTED, self.PATH)
        assert list(found) == ["a", "b"]
        assert found["b"].dtype == torch.float64

    @pytest.mark.parametrize(
        ("loaded", "message"),
        [
            ({"a": torch.ones(2, 3)}, "some.safetensors: b is missing from the checkpoint"),
            (
                {"a": torch.ones(2, 3), "b": torch.ones(2), "c": torch.ones(2)},
                "c is not expected in the checkpoint",
            ),
            (
                {"a": torch.ones(3, 2), "b": torch.ones(2)},
                r"a has shape \(3, 2\), expected \(2, 3\)",
            ),
        ],
    )
    def test_another_models_weights_are_refused_by_name(self, loaded, message):
        with pytest.raises(ValueError, match=message):
            fit(loaded, self.EXPECTED, self.PATH)
