"""The real all-MiniLM-L6-v2, against transformers' own forward pass, mean and normalising."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from metaformer_cli.data.pretrained_tokenizer import PretrainedTokenizer
from metaformer_cli.models.bert_encoder import RADIUS
from metaformer_cli.models.hub import MINILM_PACKAGE, MINILM_SHA256, WEIGHTS, find_minilm
from metaformer_cli.models.minilm import MiniLM
from metaformer_cli.models.packed import pack

try:
    version(MINILM_PACKAGE)
except PackageNotFoundError:
    pytest.skip(f"the package {MINILM_PACKAGE} is not installed", allow_module_level=True)

OPTIONS = {"pooling": None, "sha256": None}
TEXTS = [
    "How do I activate my new card?",
    "transfer 100 dollars from savings to checking, please",
    "what's the weather like in Reykjavík today 🙂",
    "play",
    "I would like to know " + "really " * 80 + "why my payment has not gone through yet.",
]


@pytest.fixture(scope="module")
def own():
    return MiniLM.bring(**OPTIONS)


def test_its_features_are_those_of_transformers_of_a_learned_length(own):
    from transformers import AutoModel, AutoTokenizer

    tokenizer = PretrainedTokenizer.brought(own)
    model = MiniLM(SimpleNamespace(max_tokens=64, ways=5), own, False)
    with torch.no_grad():
        features = model.encoder(pack(tokenizer.encode(TEXTS, 64)))
    folder = find_minilm().folder
    theirs = AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding=True, truncation=True, max_length=64, return_tensors="pt"
    )
    with torch.no_grad():
        x_NLD = AutoModel.from_pretrained(folder).eval()(**theirs).last_hidden_state
    mask_NL1 = theirs.attention_mask[..., None]
    mean_ND = (x_NLD * mask_NL1).sum(dim=1) / mask_NL1.sum(dim=1)
    expected = torch.nn.functional.normalize(mean_ND)
    torch.testing.assert_close(features / RADIUS, expected, rtol=0, atol=1e-6)
    assert features.shape == (len(TEXTS), 384)


def test_it_says_how_it_is_used_and_a_run_keeps_the_hash_of_its_weights(own):
    said = json.loads(json.loads(own)["encoder.json"])
    assert said == {"pooling": "mean", "normalize": True, "max_tokens": 256}
    assert PretrainedTokenizer.brought(own).longest == 256
    assert MiniLM.pin(**OPTIONS)["sha256"] == MINILM_SHA256[WEIGHTS]
    with pytest.raises(ValueError, match=r"^model=minilm: .*model\.sha256=0{64}"):
        MiniLM.pin(**{**OPTIONS, "sha256": "0" * 64})


def test_from_its_files_to_a_saved_encoder_transformers_is_not_imported(monkeypatch, tmp_path):
    """It takes seconds to import."""
    monkeypatch.setitem(sys.modules, "transformers", None)  # importing it is an error
    own = MiniLM.bring(**OPTIONS)
    model = MiniLM(SimpleNamespace(max_tokens=64, ways=5), own, False)
    tokenizer = PretrainedTokenizer.brought(own)
    assert model.encoder(pack(tokenizer.encode(TEXTS, 64))).isfinite().all()
    model.export(tmp_path / "saved", dict)
    saved = load_file(tmp_path / "saved" / WEIGHTS)
    published = load_file(find_minilm().folder / WEIGHTS)
    assert published.keys() - saved.keys() == {
        *("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
    }
    assert all(torch.equal(value, published[name]) for name, value in saved.items())
