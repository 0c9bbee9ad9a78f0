"""What sentence-transformers folders say, against folders written as its releases write them."""

from __future__ import annotations

import json

import pytest

from metaformer_cli.models.sentence_modules import Modules, read_modules, write_modules

KINDS = "sentence_transformers.models"


def write(folder, kinds, pooling=None, *, first="", settings=None, place=KINDS):
    """A folder with these modules; `first` is where the Transformer is."""
    paths = [first, *(f"{i}_{kind}" for i, kind in enumerate(kinds) if i)]
    for path in paths:
        (folder / path).mkdir(exist_ok=True, parents=True)
    rows = [
        {"idx": i, "name": str(i), "path": path, "type": f"{place}.{kind}"}
        for i, (path, kind) in enumerate(zip(paths, kinds, strict=True))
    ]
    (folder / "modules.json").write_text(json.dumps(rows))
    for path, kind in zip(paths, kinds, strict=True):
        if kind == "Pooling":
            (folder / path / "config.json").write_text(json.dumps(pooling or {}))
    if settings:
        (folder / first / "sentence_bert_config.json").write_text(json.dumps(settings))
    return folder


def mode(name, **others):
    names = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")
    return {f"pooling_mode_{own}": own == name for own in names} | others


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (mode("mean_tokens"), "mean"),
        (mode("cls_token"), "first"),
        (mode("max_tokens"), "max"),
        (mode("lasttoken", include_prompt=True), "last"),
        ({"pooling_mode": "cls"}, "first"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"word_embedding_dimension": 4}, "mean"),  # what an absent mode means there
    ],
)
@pytest.mark.parametrize("first", ["", "0_Transformer"])
def test_pooling_length_and_layout_are_read(tmp_path, theirs, ours, first):
    settings = {"max_seq_length": 128, "do_lower_case": True}
    write(tmp_path, ["Transformer", "Pooling"], theirs, first=first, settings=settings)
    assert read_modules("x", tmp_path, None) == Modules(tmp_path / first, ours, False, 128, True)


def test_normalising_is_read(tmp_path):
    kinds = ["Transformer", "Pooling", "Normalize"]
    write(tmp_path, kinds, mode("cls_token"), place="sentence_transformers.base.modules")
    assert read_modules("x", tmp_path, None) == Modules(tmp_path, "first", True)


def test_without_modules_it_is_the_mean_of_unit_length(tmp_path):
    assert read_modules("x", tmp_path, None) == Modules(tmp_path, "mean", True)
    assert read_modules("x", tmp_path, "last") == Modules(tmp_path, "last", True)


def test_a_pooling_that_is_given_wins(tmp_path):
    write(tmp_path, ["Transformer", "Pooling", "Normalize"], mode("cls_token"))
    assert read_modules("x", tmp_path, "max") == Modules(tmp_path, "max", True)


@pytest.mark.parametrize(
    ("kinds", "pooling", "said"),
    [
        (["Transformer", "Pooling", "Dense"], mode("cls_token"), "has the module Dense"),
        (["Transformer", "WeightedLayerPooling"], None, "has the module WeightedLayerPooling"),
        (["Transformer", "Pooling"], mode("mean_sqrt_len_tokens"), "pooling mean_sqrt_len_tokens"),
        (["Transformer", "Pooling"], {"pooling_mode": "weightedmean"}, "pooling weightedmean"),
        (["Transformer", "Pooling"], {"pooling_mode_cls_token": True}, "pooling mean and first"),
        (["Transformer"], None, "pooling none"),
    ],
)
def test_what_metaformer_has_not_is_named_and_the_transformer_alone_can_be_had(
    tmp_path, kinds, pooling, said
):
    write(tmp_path, kinds, pooling)
    with pytest.raises(ValueError, match=f"^x: .*{said}.*give model.pooling=mean.first") as error:
        read_modules("x", tmp_path, None)
    assert "\n" not in str(error.value)
    assert read_modules("x", tmp_path, "mean") == Modules(tmp_path, "mean")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[3]", "[]", '[{"type": "a.Transformer"}]'),
        '[{"type": "a.Transformer", "path": "../elsewhere"}]',
        '[{"type": "a.Transformer", "path": "/etc"}]',
        '[{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "none"}]',
    ],
)
def test_damaged_modules_are_one_line(tmp_path, text):
    (tmp_path / "modules.json").write_text(text)
    with pytest.raises(ValueError, match=r"^x: its modules\.json .* cannot be read") as error:
        read_modules("x", tmp_path, None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("pooling", ["mean", "first", "last", "max"])
@pytest.mark.parametrize(("normalize", "max_tokens"), [(True, 256), (False, None)])
def test_what_is_written_is_read(tmp_path, pooling, normalize, max_tokens):
    (tmp_path / "config.json").write_text('{"hidden_size": 16}')
    write_modules(tmp_path, pooling, normalize=normalize, max_tokens=max_tokens)
    expected = Modules(tmp_path, pooling, normalize, max_tokens)
    assert read_modules("x", tmp_path, None) == expected
