"""Exported programs, read again by PyTorch alone, against the models that they were made of."""

from __future__ import annotations

import zipfile
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from metaformer_cli.data.tokenizer import TextTokenizer
from metaformer_cli.models.model import Model, Parameters
from metaformer_cli.models.packed import pack
from metaformer_cli.models.points import PointTransformer
from metaformer_cli.models.pretrained import PretrainedClassifier
from metaformer_cli.models.program import write_program
from metaformer_cli.models.transformer import TransformerClassifier

TOKENIZER = TextTokenizer.train(["a table for two", "play that song, and louder"] * 2, 300)
READER = SimpleNamespace(tokenizer=TOKENIZER, max_tokens=30, ways=3)
WRITTEN = [[1, 20, 21], [1, 30, 31, 32, 33], [1, 10]]
OTHERS = [[1, 20], [1, 13, 14, 15, 16, 17, 18, 19, 20], [1, 30, 31], [1, 24, 24, 25], [1, 7]]


def with_classifier(model: Any) -> Parameters:
    torch.manual_seed(1)
    added = {"classifier.weight": torch.randn(3, model.width), "classifier.bias": torch.randn(3)}
    return {**{name: value.detach() for name, value in model.named_parameters()}, **added}


def exported(model: Model, parameters: Parameters, inputs: Any, file: Any) -> Any:
    """The program, as `write_program` wrote it of the model with these parameters."""

    def outputs(inputs: Any) -> Tensor:
        return model.outputs(parameters, model.prepare(inputs))

    write_program(file, model, outputs, inputs, outputs(inputs))
    return torch.export.load(file).module()


def assert_same_of_texts(model: Any, tmp_path: Any) -> None:
    """Of other texts than it was traced with, and of one alone; padding may hold anything."""
    parameters = with_classifier(model)
    program = exported(model, parameters, pack(WRITTEN), tmp_path / "program.pt2")
    for texts in (OTHERS, OTHERS[2:3]):
        inputs = pack(texts)
        expected = model.outputs(parameters, model.prepare(inputs))
        plain = model.to_plain(inputs)
        torch.testing.assert_close(program(**plain), expected, rtol=1e-5, atol=1e-5)
        noise = torch.where(plain["mask"], plain["tokens"], 17)
        found = program(tokens=noise, mask=plain["mask"])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{}, {"positions": "learned", "norm": "post", "lexical_width": 0}],
    ids=str,
)
def test_a_program_of_a_transformer_gives_what_the_model_does(options, tmp_path):
    torch.manual_seed(0)
    sizes = {"width": 8, "layers": 2, "heads": 2, "lexical_width": 16}
    model = TransformerClassifier(READER, "", False, **{**sizes, **options})
    assert_same_of_texts(model, tmp_path)


@pytest.mark.parametrize("architecture", ["bert", "albert"])
def test_a_program_of_a_pretrained_encoder_does_too(architecture, pretrained_folder, tmp_path):
    folder = str(pretrained_folder(architecture))
    own = PretrainedClassifier.bring(path=folder)
    assert_same_of_texts(PretrainedClassifier(READER, own, False, path=folder), tmp_path)


def test_a_program_of_points_gives_their_values(tmp_path):
    torch.manual_seed(0)
    reader = SimpleNamespace(coordinates=2)
    model = PointTransformer(reader, "", False, width=8, layers=2, heads=2)
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    program = exported(model, parameters, {"points": torch.randn(1, 2)}, tmp_path / "program.pt2")
    for count in (1, 7):
        points_NF = torch.randn(count, 2)
        expected = model.outputs(parameters, model.prepare({"points": points_NF}))
        found = program(points=points_NF)
        assert found.shape == (count,)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_program_holds_no_examples_and_nothing_that_would_run_when_read(tmp_path):
    reader = SimpleNamespace(coordinates=1)
    model = PointTransformer(reader, "", False, width=4, layers=1, heads=1)
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    marked = torch.tensor([[1.2345678]])
    exported(model, parameters, {"points": marked}, tmp_path / "program.pt2")
    with zipfile.ZipFile(tmp_path / "program.pt2") as archive:
        content = {info.filename: archive.read(info) for info in archive.infolist()}
    assert len(content) > 10
    number = marked.numpy().tobytes()
    assert not [name for name, data in content.items() if number in data]
    assert not [name for name, data in content.items() if data.startswith(b"\x80")]  # a pickle


def test_a_program_that_gives_something_else_is_not_passed_over(tmp_path):
    reader = SimpleNamespace(coordinates=1)
    model = PointTransformer(reader, "", False, width=4, layers=1, heads=1)
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    inputs = {"points": torch.randn(3, 1)}

    def outputs(inputs: Any) -> Tensor:
        return model.outputs(parameters, model.prepare(inputs))

    with pytest.raises(AssertionError, match="not close"):
        write_program(tmp_path / "x.pt2", model, outputs, inputs, outputs(inputs) + 0.01)
