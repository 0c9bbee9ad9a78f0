"""What the tests of whole processes share."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# No deadline: how long an example takes says how busy the machine is, not whether it is right.
settings.register_profile("metaformer", deadline=None)
settings.load_profile("metaformer")

Metaformer = Callable[..., "subprocess.CompletedProcess[str]"]
Popen = Callable[..., "subprocess.Popen[str]"]

SAME_OPTIONS = {
    "albert": "Albert",
    "bert": "Bert",
    "camembert": "Camembert",
    "deberta-v2": "DebertaV2",
    "electra": "Electra",
    "mpnet": "MPNet",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
}
ROBERTAS = ("camembert", "mpnet", "roberta", "xlm-roberta")  # positions from behind <pad>
PRETRAINING_TEXTS = ("book a flight to Rome", "what's the weather?", "wake me at 7 o'clock, please")

# The smallest run that has every part.
TINY = [
    "data=builtin",
    "model=transformer",
    "model.width=8",
    "model.layers=1",
    "model.heads=1",
    "train.steps=2",
    "train.valid_episodes=2",
    "train.meta_batch=1",
    "task.shots=1",
    "task.queries=1",
    "task.vocab_size=300",
    "learner.inner_steps=1",
]


@pytest.fixture(scope="session", autouse=True)
def a_home_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests write nothing into anybody's home, and what they run chooses one core."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(autouse=True)
def no_safe_path_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """`main`, called in this process, asks all that it starts to look for no module here.

    What another test starts shall look where it always does.
    """
    monkeypatch.setenv("PYTHONSAFEPATH", "")


@pytest.fixture(scope="session")
def environment(
    tmp_path_factory: pytest.TempPathFactory,
    a_home_of_their_own: None,  # noqa: ARG001, it goes first
) -> dict[str, str]:
    """The environment variables of processes that tests start."""
    variables = dict(os.environ)
    if variables.pop("PYTHONDONTWRITEBYTECODE", None):  # or each process compiles torch anew
        variables["PYTHONPYCACHEPREFIX"] = str(tmp_path_factory.mktemp("pycache"))
    return variables


@pytest.fixture(scope="session")
def metaformer(environment: dict[str, str]) -> Metaformer:
    """`metaformer(*words, cwd=FOLDER)` runs the command in a process of its own."""

    def run(*words: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "metaformer_cli", *map(str, words)],
            check=False,
            cwd=cwd,
            env={**environment, **env},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture(scope="module")
def popen() -> Iterator[Popen]:
    """`popen(*words)` starts a Python that ends with the module: left over, it would warn later."""
    with contextlib.ExitStack() as stack:

        def start(*words: object, **options: Any) -> subprocess.Popen[str]:
            command = [sys.executable, *map(str, words)]
            process = stack.enter_context(subprocess.Popen(command, text=True, **options))
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """The options of the smallest run."""
    return list(TINY)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, metaformer: Metaformer) -> Path:
    """The folder of a tiny trained run; for reading only."""
    folder = tmp_path_factory.mktemp("tiny") / "run"
    done = metaformer("train", *TINY, f"run_dir={folder}", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def pretrained_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`pretrained_folder(ARCHITECTURE)`: a small random model and its tokenizer, as saved."""
    folders: dict[str, Path] = {}

    def folder(architecture: str) -> Path:
        if architecture not in folders:
            folders[architecture] = tmp_path_factory.mktemp("pretrained") / architecture
            save_pretrained(architecture, folders[architecture])
        return folders[architecture]

    return folder


def save_pretrained(architecture: str, folder: Path) -> None:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    tokenizer = make_tokenizer(architecture)
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 40}
    torch.manual_seed(0)
    model = make_model(architecture, sizes, int(tokenizer.pad_token_id or 0))
    for name, value in model.named_parameters():
        # biases start at zero, and a test could not tell whether they are used
        torch.nn.init.normal_(value, mean=float("orm" in name and "weight" in name), std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_model(architecture: str, sizes: dict[str, int], padding: int) -> Any:
    import transformers

    usual = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "pad_token_id": padding,
        **sizes,
    }
    if architecture in SAME_OPTIONS:
        name = SAME_OPTIONS[architecture]
        more: dict[str, Any] = (
            {"embedding_size": 8} if architecture in ("albert", "electra") else {}
        )
        if architecture in ROBERTAS:
            usual["max_position_embeddings"] += padding + 1
        if architecture == "deberta-v2":
            more = {
                "relative_attention": True,
                "pos_att_type": ["p2c", "c2p"],
                "share_att_key": True,
            }
        config = getattr(transformers, f"{name}Config")(**usual, **more)
        return getattr(transformers, f"{name}Model")(config)
    if architecture == "t5":
        t5: dict[str, Any] = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 3, "num_heads": 2}
        t5["feed_forward_proj"] = "gated-gelu"  # smooth: derivatives are compared with differences
        return transformers.T5EncoderModel(
            transformers.T5Config(**t5, vocab_size=sizes["vocab_size"])
        )
    if architecture == "distilbert":
        return transformers.DistilBertModel(
            transformers.DistilBertConfig(
                dim=16, n_layers=3, n_heads=2, hidden_dim=24, pad_token_id=padding, **sizes
            )
        )
    if architecture == "modernbert":
        local = {"local_attention": 4, "global_attn_every_n_layers": 2}
        special = dict.fromkeys(
            ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), padding
        )
        return transformers.ModernBertModel(
            transformers.ModernBertConfig(**usual, **local, **special)
        )
    ends = {"bos_token_id": 0, "eos_token_id": 0, "scale_attn_by_inverse_layer_idx": True}
    del usual["intermediate_size"], usual["pad_token_id"]
    return transformers.GPT2Model(transformers.GPT2Config(**usual, **ends))


def make_tokenizer(architecture: str) -> Any:
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    if architecture not in (*ROBERTAS, "modernbert", "gpt2"):
        letters = sorted(set("".join(PRETRAINING_TEXTS).lower()) - {" "})
        pieces = [*letters, *(f"##{letter}" for letter in letters), "fl", "##ight", "weather"]
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        return transformers.BertTokenizer(vocab={p: i for i, p in enumerate(special + pieces)})
    special = {
        "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        "modernbert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        "gpt2": ["<|endoftext|>"],
    }["roberta" if architecture in ROBERTAS else architecture]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    trained.train_from_iterator(PRETRAINING_TEXTS, trainer)
    model = json.loads(trained.to_str())["model"]
    vocab, merges = model["vocab"], [tuple(merge) for merge in model["merges"]]
    if architecture in ROBERTAS:
        return transformers.RobertaTokenizer(vocab=vocab, merges=merges)
    if architecture == "gpt2":
        return transformers.GPT2Tokenizer(vocab=vocab, merges=merges)
    trained.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=trained, **dict(zip(names, special, strict=True))
    )
