"""Command lines, composed by Hydra."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metaformer_cli.config.build import build
from metaformer_cli.config.compose import run
from metaformer_cli.config.resolve import Composed, resolve
from metaformer_cli.config.schema import COMMANDS
from metaformer_cli.config.sweep import Search, Sweep

Compose = Callable[..., list[Composed]]


@pytest.fixture
def compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compose:
    """`compose("train", *words)` gives what each job received."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["metaformer"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def jobs(command: str, *words: str) -> list[Composed]:
        found: list[Composed] = []

        def several(own: Sweep | Search) -> int:
            assert isinstance(own, Sweep)
            found.extend(job.composed for job in own.jobs)
            return 0

        run(command, words, found.append, several)
        return found

    return jobs


def refusal(compose: Compose, *words: str) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        [resolve(composed) for composed in compose(*words)]
    return str(refused.value)


def test_the_yaml_files_add_nothing_to_the_defaults_of_the_schema(compose):
    names = {"task": "fewshot_text", "data": "builtin", "model": "minilm", "learner": "maml"}
    groups = {group: {"name": name} for group, name in names.items()}
    (composed,) = compose("train")
    tree = {key: value for key, value in composed.tree.items() if key != "experiment"}
    assert build(tree, COMMANDS["train"]) == build(groups, COMMANDS["train"])
    assert composed.given == {}
    assert composed.folder is None


def test_what_was_typed_is_known_by_its_key(compose):
    (composed,) = compose("train", "learner=fomaml", "train.lr=2", "run_dir=~/x")
    assert composed.given == {"learner": "fomaml", "train.lr": 2, "run_dir": "~/x"}
    assert composed.tree["learner"]["name"] == "fomaml"
    assert composed.tree["run_dir"] == str(Path.home() / "x")


def test_the_home_folder_is_found_in_the_paths_of_groups(compose):
    words = ("data=csv", "data.path=~/texts.csv", "model=pretrained", "model.path=~/bert")
    (composed,) = compose("train", *words)
    assert composed.tree["data"]["path"] == str(Path.home() / "texts.csv")
    assert composed.tree["model"]["path"] == str(Path.home() / "bert")


def test_each_job_of_a_sweep_has_a_folder_of_its_own(compose):
    jobs = compose("train", "-m", "learner=maml,fomaml", "train.lr=0.1,0.2")
    folders = [str(job.folder) for job in jobs]
    assert len(set(folders)) == 4
    (parent,) = {str(Path(folder).parent) for folder in folders}
    assert re.fullmatch(r"runs/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d-\d{6}", parent)
    assert Path(folders[0]).name == "0_learner-maml_train.lr-0.1"
    (inside, _) = compose("train", "-m", "seed=0,1", "run_dir=mine")
    assert inside.folder == "mine/0_seed-0"
    (own, _) = compose("train", "-m", "run_dir=a,b")
    assert (own.folder, own.tree["run_dir"]) == (None, "a")


def test_a_sweep_of_another_command_leaves_nothing(compose, tmp_path):
    jobs = compose("data", "-m", "seed=0,1")
    assert [(job.tree["seed"], job.folder) for job in jobs] == [(0, None), (1, None)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+learner.first_ordr=true"], "unknown option learner.first_ordr"),
        (["+lerner=maml"], "did you mean learner?"),
        (["+learner._target_=pathlib.Path.touch"], "unknown option learner._target_"),
        (["+train.log_every=3"], "train.log_every"),
        (["learner.inner_step=3"], "did you mean learner.inner_steps?"),
        (["data.path=x"], "give one of these too, or leave it out"),
        (["train=3"], "train=3: expected options"),
        (["experiment=mine"], "experiment"),
        (["seed=0,1"], "several values are a sweep: add -m"),
        (["hydra.callbacks.x._target_=pathlib.Path.touch"], "hydra"),
        (["+hydra.callbacks.x._target_=pathlib.Path.cwd"], "no other options of Hydra's"),
        (["hydra.run.dir=made"], "run_dir=FOLDER says where a run is kept"),
        (["--cfg", "job", "hydra.run.dir=made"], "leave it out"),
        (["hydra.output_subdir=made"], "leave it out"),
        (["hydra/launcher=joblib"], "with -m"),
        (["run_dir="], "run_dir=: expected a path; leave run_dir out for none"),
        (["run_dir= "], "expected a path"),
        (["-m", "run_dir=", "seed=0,1"], "run_dir=: expected a path"),
        (["-m", "run_dir=${oc.env:HOME}", "seed=0,1"], "expected a plain text"),
    ],
)
def test_what_the_schema_does_not_have_is_refused(words, said, compose):
    assert said in refusal(compose, "train", *words)


@pytest.mark.parametrize("word", ["data=csv", "model=transformer", "model.width=3", "+data.path=x"])
def test_predict_says_what_the_checkpoint_brings(word, compose, make_run):
    make_run()
    key = word.partition("=")[0].lstrip("+")
    words = ("predict", "ckpt=run", "support=a.csv", "query=b.csv", "out=c.csv", word)
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        [resolve(composed) for composed in compose(*words)]
    group = key.partition(".")[0]
    assert str(refused.value) == (
        f"{key}: predict takes the {group} from the checkpoint: leave {key} out"
    )


EVIL = "{_target_: pathlib.Path.touch, self: {_target_: pathlib.Path, _args_: [touched]}}"


@pytest.mark.parametrize("sweep", [[], ["-m"]], ids=["run", "sweep"])
@pytest.mark.parametrize(
    "text",
    [
        f"# @package _global_\nlearner: {EVIL}\n",
        f"# @package _global_\nhydra: {{callbacks: {{x: {EVIL}}}}}\n",
        f"# @package _global_\nhydra: {{callbacks: {{x: [{EVIL}]}}}}\n",
        f"# @package _global_\nhydra: {{launcher: {EVIL}}}\n",
    ],
)
def test_a_configuration_from_elsewhere_runs_no_code(text, sweep, compose, tmp_path):
    folder = tmp_path / "foreign" / "experiment"
    folder.mkdir(parents=True)
    (folder / "evil.yaml").write_text(text)
    refusal(compose, "train", *sweep, "--config-dir", "foreign", "experiment=evil", "seed=1")
    assert [path.name for path in tmp_path.iterdir()] == ["foreign"]


def test_logging_of_a_configuration_from_elsewhere_is_left_out(compose, tmp_path):
    (tmp_path / "experiment").mkdir()
    handler = "{class: logging.FileHandler, filename: touched}"
    settings = f"{{root: {{handlers: [x]}}, handlers: {{x: {handler}}}}}"
    (tmp_path / "experiment" / "evil.yaml").write_text(
        f"# @package _global_\nseed: 4\nhydra: {{job_logging: {settings}}}\n"
    )
    for sweep in ([], ["-m"]):
        jobs = compose("train", *sweep, "--config-dir", str(tmp_path), "experiment=evil")
        assert jobs[0].tree["seed"] == 4
    assert not (tmp_path / "touched").exists()


def test_a_configuration_from_elsewhere_makes_no_folder(compose, tmp_path):
    add_config(
        tmp_path / "experiment" / "own.yaml",
        "# @package _global_\nseed: 4\nhydra: {run: {dir: made}, output_subdir: made}\n",
    )
    (composed,) = compose("train", "--config-dir", ".", "experiment=own")
    assert composed.tree["seed"] == 4
    assert [path.name for path in tmp_path.iterdir()] == ["experiment"]


def test_a_run_is_kept_where_it_was_said_to_the_letter(compose):
    (one,) = compose("train", "run_dir=1e3 ")
    assert (one.given["run_dir"], one.tree["run_dir"]) == ("1e3 ", "1e3 ")
    (first, _) = compose("train", "-m", "run_dir=1e3 ", "seed=0,1")
    assert first.folder == "1e3 /0_seed-0"


def test_a_users_folder_adds_choices(compose, tmp_path):
    (tmp_path / "my configs" / "learner").mkdir(parents=True)
    (tmp_path / "my configs" / "learner" / "mine.yaml").write_text(
        "defaults:\n  - /schema_learner_fomaml@_here_\nname: fomaml\ninner_lr: 0.7\n"
    )
    (composed,) = compose("train", "--config-dir", "my configs", "learner=mine")
    config: Any = resolve(composed)
    assert (config.learner["name"], config.learner["inner_lr"]) == ("fomaml", 0.7)


def add_config(folder: Path, text: str) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_text(text)


def test_a_tasks_yaml_may_name_its_model_and_what_is_typed_still_wins(compose, tmp_path):
    add_config(
        tmp_path / "mine" / "task" / "other.yaml",
        "defaults:\n  - /schema_task_fewshot_text@_here_\n"
        "  - override /model@_global_.model: pretrained\nname: fewshot_text\n",
    )
    words = ("--config-dir", "mine", "task=other")
    (composed,) = compose("train", *words, "model.path=x")
    assert composed.tree["model"]["name"] == "pretrained"
    (composed,) = compose("train", *words, "model=transformer")
    assert composed.tree["model"]["name"] == "transformer"


def test_an_experiment_may_choose_and_set_anything_but_plugins(compose, tmp_path):
    add_config(
        tmp_path / "experiment" / "small.yaml",
        "# @package _global_\ndefaults:\n  - override /learner: fomaml\n  - override /data: hwu64\n"
        "task: {shots: 1}\n",
    )
    (composed,) = compose("train", "--config-dir", ".", "experiment=small")
    config: Any = resolve(composed)
    assert (config.learner["name"], config.data["name"]) == ("fomaml", "hwu64")
    assert config.task["shots"] == 1


def test_the_name_of_a_pretrained_encoder_is_the_path_that_it_is_read_from(compose):
    (composed,) = compose("train", "model=pretrained", "model.name=~/bert")
    config: Any = resolve(composed)
    assert config.model["name"] == "pretrained"
    assert config.model["path"] == str(Path.home() / "bert")
    assert "model.path" in composed.given
    assert "model.name" not in composed.given


NAMES = st.text(
    st.characters(categories=("L", "N", "P", "S", "Zs"), exclude_characters=",$\\/'\"[]{}~"),
    max_size=20,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(NAMES)
def test_odd_file_names_arrive_as_they_were_typed(compose, name):
    path = f"a{name}b.csv"
    (composed,) = compose("train", "data=csv", f"data.path={path}")
    assert composed.tree["data"]["path"] == path


@pytest.mark.parametrize("path", ["it's.csv", "(1).csv", "a=b.csv", "a b.csv", 'a"b.csv', "é 😀"])
def test_names_with_quotes_arrive_too(path, compose):
    (composed,) = compose("train", "data=csv", f"data.path={path}")
    assert composed.tree["data"]["path"] == path
