"""The command line, in real processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from metaformer_cli import __version__
from metaformer_cli.config.named import sizes
from metaformer_cli.config.options import options
from metaformer_cli.config.registry import GROUPS, choices
from metaformer_cli.config.schema import COMMANDS, CheckpointCommand

HELPS = [["--help"], *([command, "--help"] for command in (*COMMANDS, "list"))]
LISTS = [["list"], ["list", "task", "data", "model", "model/size", "learner", "experiment"]]
LISTS += [["list", f"{group}={name}"] for group in GROUPS for name in [*choices(group)][:2]]
MODELS = {f"model={name}" for name in choices("model")} | {f"model/size={name}" for name in sizes()}
SIZES = {f"model/size={name}" for name in sizes()}


@pytest.fixture
def trap(tmp_path: Path) -> str:
    """A PYTHONPATH on which `import torch` ends the program with exit code 99."""
    folder = tmp_path / "trap"
    folder.mkdir()
    (folder / "torch.py").write_text("import os\nos._exit(99)\n")
    return str(folder)


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    """The name of a plugin in the working directory."""
    (tmp_path / "mine.py").write_text(
        "from metaformer_cli.choices import learner\n\n\n"
        '@learner("mine")\nclass Mine:\n    """My own."""\n\n'
        "    def __init__(self, model, *, depth: int = 3): ...  # in layers\n"
    )
    return "mine.py"


@pytest.mark.parametrize("words", [*HELPS, *LISTS], ids=" ".join)
def test_help_fits_80_columns_and_needs_no_torch(words, tmp_path, metaformer, trap):
    shown = metaformer(*words, cwd=tmp_path, PYTHONPATH=trap)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert max(len(line) for line in shown.stdout.splitlines()) <= 80
    assert not [line for line in shown.stdout.splitlines() if line != line.rstrip()]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_names_its_options(command, tmp_path, metaformer):
    shown = metaformer(command, "-h", cwd=tmp_path).stdout
    brought = issubclass(COMMANDS[command], CheckpointCommand)
    fixed = ("task.", "data.", "model.") if brought else ()
    answers = {
        f"task.{name}" for own in choices("task").values() for name in own.declared["answers"]
    }
    known = options(COMMANDS[command])
    expected = [key for key in known if not key.startswith(fixed) or key in answers]
    assert answers <= set(expected)
    assert len(expected) >= 10
    for key in expected:
        assert f"  {key}=" in shown


def test_the_help_of_a_command_lists_a_plugins_choices(plugin, tmp_path, metaformer, trap):
    words = ("train", "--help", f"plugins={plugin}")
    shown = metaformer(*words, cwd=tmp_path, PYTHONPATH=trap).stdout
    assert "\nlearner=mine: My own.\n  learner.depth=3            in layers\n" in shown
    listed = metaformer("list", "learner=mine", f"plugins={plugin}", cwd=tmp_path).stdout
    assert "\n  learner.depth=3            a whole number: in layers\n" in listed
    missing = metaformer("train", "--help", "plugins=missing.py", cwd=tmp_path)
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)


def test_help_names_every_command_and_nothing_typed_shows_it_as_an_error(tmp_path, metaformer):
    shown = metaformer("--help", cwd=tmp_path)
    for command in (*COMMANDS, "list"):
        assert f"\n  {command} " in shown.stdout
    for same in ("-h", "help"):
        assert metaformer(same, cwd=tmp_path).stdout == shown.stdout
    nothing = metaformer(cwd=tmp_path)
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (2, "", shown.stdout)


def test_the_version_is_the_packages(tmp_path, metaformer):
    assert metaformer("--version", cwd=tmp_path).stdout == f"metaformer {__version__}\n"


def test_cfg_job_prints_the_configuration_and_runs_nothing(tmp_path, metaformer, trap):
    words = ["train", "--cfg", "job", "learner=fomaml", "train.steps=7", "run_dir=a"]
    shown = metaformer(*words, cwd=tmp_path, PYTHONPATH=trap)
    assert (shown.returncode, shown.stderr) == (0, "")
    config = OmegaConf.create(shown.stdout)
    assert (config.learner.name, config.train.steps, config.run_dir) == ("fomaml", 7, "a")
    assert set(GROUPS) <= set(config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trap"]


def test_cfg_job_with_a_checkpoint_prints_what_that_was_trained_with(
    tmp_path, metaformer, tiny_run
):
    shown = metaformer("eval", f"ckpt={tiny_run}", "task.shots=3", "--cfg=job", cwd=tmp_path)
    config = OmegaConf.create(shown.stdout)
    assert (config.model.width, config.task.shots, config.task.queries) == (8, 3, 1)


@pytest.mark.parametrize(
    "words",
    [
        ["trian"],
        ["train", "train.stepz=1"],
        ["train", "train.steps=abc"],
        ["train", "learner=nothing"],
        ["train", "+learner.first_ordr=true"],
        ["train", "resume=missing"],
        ["train", "data=csv", "data.path=missing.csv"],
        ["train", "-m", "seed=0,1", "train.lr=a"],
        ["eval", "ckpt=missing"],
        ["predict"],
        ["data", "learner=maml"],
        ["train", "data=generated"],
        ["train", "plugins=missing.py"],
        ["train", "model/size=tiny"],
        ["list", "lerner"],
        ["list", "learner=mamml"],
        ["list", "model/size=tinny"],
        ["list", "learner", "plugins=missing.py"],
    ],
    ids=" ".join,
)
def test_configuration_errors_need_no_torch(words, tmp_path, metaformer, trap):
    failed = metaformer(*words, cwd=tmp_path, PYTHONPATH=trap)
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
    assert failed.stdout == ""


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("data.path=" + "a" * 100_000 + "/end.csv", ("aaa… (", "/end.csv")),
        ("train.lr=" + "word " * 20_000, ("train.lr: expected a number", "… (")),
        ("x" * 100_000 + "=1", ("unknown option xxx",)),
    ],
    ids=["a path", "a text", "a name"],
)
def test_what_an_error_quotes_is_cut_and_both_ends_are_kept(word, kept, tmp_path, metaformer):
    failed = metaformer("train", "data=csv", word, cwd=tmp_path)
    assert failed.returncode == 2
    assert len(failed.stderr) < 2200
    for part in kept:
        assert part in failed.stderr


def test_the_trap_for_torch_works(tmp_path, metaformer, trap, tiny):
    assert metaformer("train", *tiny, cwd=tmp_path, PYTHONPATH=trap).returncode == 99


def test_a_sweep_trains_each_combination_in_a_folder_of_its_own(tmp_path, metaformer, tiny):
    done = metaformer("train", "-m", *tiny, "seed=0,1", "run_dir=sweep", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert [run.name for run in runs] == ["0_seed-0", "1_seed-1"]
    for seed, run in enumerate(runs):
        assert OmegaConf.load(run / "config.yaml").seed == seed
        lines = (run / "metrics.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["step"] == 2
        assert (run / "checkpoints" / "best.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["sweep"]


@pytest.mark.parametrize("words", [["train", "--help"], ["data"]], ids=" ".join)
def test_a_closed_pipe_is_quiet(words, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "metaformer_cli", *words]
    with os.fdopen(writer, "wb") as nobody_reads:
        done = subprocess.run(
            command,
            check=False,
            cwd=tmp_path,
            stdout=nobody_reads,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("metaformer ", {"train", "eval", "compare", "predict", "export", "data", "bench", "list"}),
        ("metaformer list mod", {"model", "model/size"} | MODELS),
        ("metaformer list model/size=", SIZES),
        ("metaformer train model/size=", SIZES),
        ("metaformer pr", {"predict"}),
        ("metaformer train learner=", {f"learner={name}" for name in choices("learner")}),
        ("metaformer train data=c", {"data=csv", "data=clinc150", "data=ciphers"}),
        ("metaformer train train.ste", {"train.steps="}),
        (
            "metaformer eval eval.",
            {"eval.episodes=", "eval.split=", "eval.inner_steps=", "eval.processes="},
        ),
        ("metaformer train nonsense=1 =", set()),
        ("metaformer train plugins=../mine.py learner=mi", {"learner=mine"}),
        ("metaformer train plugins=../mine.py learner=mine learner.d", {"learner.depth="}),
        ("metaformer train plugins=missing.py learner=m", set()),
    ],
)
@pytest.mark.usefixtures("plugin")
def test_bash_completes_commands_and_options(line, expected, tmp_path):
    script = Path(sys.executable).with_name("metaformer")
    bash = shutil.which("bash")
    if bash is None or not script.exists():
        pytest.skip("needs bash and the installed command")
    folder = tmp_path / "empty"  # bash completes file names where nothing else is offered
    folder.mkdir()
    # as bash does on TAB: with the function that the installed script registers
    code = (
        'eval "$(metaformer -sc install=bash)"\n'
        "COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=($1) COMP_CWORD=${#COMP_WORDS[@]}\n"
        '"$(complete -p metaformer | sed -E "s/.* -F ([^ ]+).*/\\1/")"\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [bash, "-c", code, "bash", line],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == expected
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--experimental-rerun", "x.pickle"], "which can run code"),
        (["train", "--config-name", "x"], "expected --config-dir FOLDER"),
        (["train", "--config-dir", "missing"], "expected a folder that is there"),
    ],
)
def test_flags_of_hydra_that_would_mislead_are_refused(words, said, tmp_path, metaformer):
    failed = metaformer(*words, cwd=tmp_path)
    assert failed.returncode == 2
    assert said in failed.stderr
    assert failed.stderr.count("\n") == 1
