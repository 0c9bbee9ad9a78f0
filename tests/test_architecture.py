"""The rooms of the house, and who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaformer_cli.config.registry import choices

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "metaformer_cli"
FILES = sorted(PACKAGE.rglob("*.py"))

# Each room, and the rooms that it may import besides itself.
MAY_IMPORT = {
    "__init__": set(),
    "__main__": {"cli"},
    "cli": {"__init__", "commands", "config"},
    # the configuration in a checkpoint is read without the rest of training
    "config": {"choices", "episode", "bounds", "seal", "training.checkpoint_header"},
    "commands": {
        *("config", "benchmark", "reports", "training", "learners", "models", "tasks", "data"),
        *("episode", "atomic", "locks", "seal", "__init__"),
    },
    "benchmark": {"learners", "episode"},
    "reports": {"episode"},
    "training": {"learners", "models", "episode", "atomic", "bounds", "seal"},
    "learners": {"models", "episode", "choices"},
    "models": {"choices", "atomic", "bounds", "seal"},
    # the format of packed sequences belongs to the models that read it
    "tasks": {"models.packed", "data", "episode", "choices"},
    "data": {"episode", "choices", "atomic", "bounds", "locks", "seal"},
    "episode": set(),
    "choices": set(),
    "atomic": set(),
    "bounds": set(),
    "locks": {"atomic"},
    "seal": {"bounds"},
}
SEE_HYDRA = {"cli", "config"}
SEE_YAML = {"config", "data"}


def room(module: str) -> str:
    """`metaformer_cli.data.files` lies in data."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere in it, type checking included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            if (PACKAGE.parent / node.module.replace(".", "/")).is_dir():
                yield from (f"{node.module}.{name.name}" for name in node.names)
            else:
                yield node.module


def test_the_files_are_found():
    assert len(FILES) >= 50
    assert {room_of(path) for path in FILES} == MAY_IMPORT.keys()


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_room_may(path):
    here = room_of(path)
    for module in imports(path):
        package, *inside = module.split(".")
        if package == "metaformer_cli":
            there = room(module) if inside and inside[0] in MAY_IMPORT else "__init__"
            allowed = MAY_IMPORT[here]
            assert there in allowed | {here} or any(
                module == f"metaformer_cli.{name}" or module.startswith(f"metaformer_cli.{name}.")
                for name in allowed
            ), f"{here} imports {module}"
        if package in ("hydra", "omegaconf"):
            assert here in SEE_HYDRA, f"{here} imports {module}"
        if package == "yaml":
            assert here in SEE_YAML, f"{here} imports {module}"


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.name == "__init__.py"],
    ids=lambda path: path.parent.name,
)
def test_a_package_imports_nothing_by_itself_but_data_builtin(path):
    if path.parent.name not in ("builtin",):
        assert list(imports(path)) == []


def test_no_file_has_more_than_400_lines():
    files = [*FILES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")]
    long = {str(path): n for path in files if (n := len(path.read_text().splitlines())) > 400}
    assert long == {}


def test_what_help_and_configuration_errors_and_draws_need_is_free_of_torch():
    modules = {
        *("metaformer_cli.cli", "metaformer_cli.choices", "metaformer_cli.episode"),
        "metaformer_cli.training.checkpoint_header",
        "metaformer_cli.tasks.task",
        *(own.where for own in choices("task").values()),
        *(
            f"metaformer_cli.{room}.{path.stem}"
            for room in ("config", "commands", "data")
            for path in (PACKAGE / room).glob("[a-z]*.py")
        ),
        "metaformer_cli.data.builtin",
    }
    assert "metaformer_cli.tasks.fewshot_text" in modules
    assert len(modules) >= 36
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print([name for name in ('torch', 'tensorboard', 'sklearn') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *sorted(modules)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


PREDICTS = """
import sys, torch
from metaformer_cli.commands import predict
from metaformer_cli.learners import maml, memory
from metaformer_cli.models import minilm
from metaformer_cli.models.bert import Bert, Shape
from metaformer_cli.training import evaluation

sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
    "intermediate_size", "max_position_embeddings", "type_vocab_size")
Bert(Shape.of({"model_type": "bert", "pad_token_id": 0, **dict.fromkeys(sizes, 2)}))
"""
TRAINS = """
from metaformer_cli.training.optimiser import AdamW
from metaformer_cli.training import outer_loop

memory.peak_of(lambda: torch.zeros(2) + 1)
options = {"weight_decay": 0.1, "clip_norm": 1.0, "warmup_steps": 1, "steps": 2}
AdamW({"w": torch.ones(2, 2)}, lr=0.1, rate_lr=0.1, **options).update({"w": torch.ones(2, 2)}, 1)
"""
SLOW = ("transformers", "scipy", "sklearn", "pandas", "torch._dynamo", "sympy")


@pytest.mark.parametrize(
    ("code", "slow"),
    [(PREDICTS, (*SLOW, "tensorboard")), (PREDICTS + TRAINS, SLOW)],
    ids=["predict", "train"],
)
def test_what_the_default_predicts_and_trains_with_imports_nothing_slow_but_torch(code, slow):
    code += f"print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
