"""Choices of a user's own, on command lines and in runs."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaformer_cli.commands.build import build_task
from metaformer_cli.config.compose import plugin_files, run
from metaformer_cli.config.help import command_help
from metaformer_cli.config.registry import choice, plugins, use_plugins
from metaformer_cli.config.resolve import resolve
from metaformer_cli.config.sweep import Search, Sweep

LEARNER = '''
import sys

from metaformer_cli.choices import learner
from metaformer_cli.learners.maml import MAML

sys.exit("imported")


@learner("mine")
class Mine:
    """My own."""

    def __init__(
        self,
        model,
        *,
        depth: int = 3,  # in layers
    ): ...
'''
TASK = LEARNER.replace('@learner("mine"', '@task("mine", inputs="text", outputs="classes"')

Configs = Callable[..., list[Any]]


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configs:
    """`configs("train", *words)` gives the configuration of each job; `my.py` is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["metaformer"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    (tmp_path / "my.py").write_text(LEARNER)

    def jobs(command: str, *words: str) -> list[Any]:
        found: list[Any] = []

        def several(own: Sweep | Search) -> int:
            assert isinstance(own, Sweep)
            found.extend(resolve(job.composed) for job in own.jobs)
            return 0

        run(command, words, lambda composed: found.append(resolve(composed)), several)
        return found

    return jobs


def refusal(configs: Configs, *words: str) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        configs(*words)
    return str(refused.value)


def record(path: str) -> dict[str, str]:
    file = Path(path).absolute()
    return {"path": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


@pytest.mark.parametrize("word", ["plugins=my.py", "plugins=[my.py]"])
def test_a_plugins_choice_needs_no_yaml(word, configs):
    (config,) = configs("train", word, "learner=mine", "learner.depth=4")
    assert config.learner == {"name": "mine", "depth": 4}
    assert config.plugins == [record("my.py")]


def test_several_plugins_are_a_list(configs):
    Path("your task.py").write_text(TASK)
    words = ("plugins=[my.py,your task.py]", "learner=mine", "task=mine", "task.depth=1")
    (config,) = configs("train", *words)
    assert (config.learner["name"], config.task) == ("mine", {"name": "mine", "depth": 1})
    assert config.plugins == [record("my.py"), record("your task.py")]


@pytest.mark.parametrize("word", ["plugins=a.py,b.py", "plugins=3", "plugins=[3]", "plugins=null"])
def test_what_names_no_files_is_refused(word, configs):
    said = refusal(configs, "train", "-m", word)
    assert said == f"{word}: expected plugins=FILE.py, or plugins=[FILE.py,FILE.py]"


def test_a_shell_may_leave_the_home_folder_to_us(configs, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (config,) = configs("train", "plugins=~/my.py", "learner=mine")
    assert config.plugins == [record("my.py")]


def test_every_job_of_a_sweep_has_the_plugin(configs):
    jobs = configs("train", "-m", "plugins=my.py", "learner=mine,maml")
    assert [job.learner["name"] for job in jobs] == ["mine", "maml"]
    assert [job.plugins for job in jobs] == [[record("my.py")]] * 2


def test_without_the_plugin_there_is_no_such_choice(configs):
    configs("train", "plugins=my.py", "learner=mine")
    assert refusal(configs, "train", "learner=mine").startswith("learner=mine: expected ")
    assert plugins() == []


def test_a_yaml_may_preset_a_plugins_choice(configs):
    Path("presets/learner").mkdir(parents=True)
    for name in ("deep", "mine"):
        Path(f"presets/learner/{name}.yaml").write_text(
            "defaults:\n  - /schema_learner_mine@_here_\nname: mine\ndepth: 9\n"
        )
        words = ("plugins=my.py", "--config-dir", "presets", f"learner={name}")
        (config,) = configs("train", *words)
        assert config.learner == {"name": "mine", "depth": 9}


def test_an_experiment_may_choose_what_a_plugin_brings(configs):
    Path("experiment").mkdir()
    Path("experiment/deep.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /learner: mine\nlearner: {depth: 9}\n"
    )
    words = ("train", "--config-dir", ".", "experiment=deep")
    (config,) = configs(*words, "plugins=my.py")
    assert config.learner == {"name": "mine", "depth": 9}
    assert "learner=mine: expected" in refusal(configs, *words)


@pytest.mark.parametrize("typed", [[], ["plugins=my.py"]], ids=["alone", "beside another"])
@pytest.mark.parametrize("sweep", [[], ["-m"]], ids=["run", "sweep"])
@pytest.mark.parametrize(
    "text",
    ["plugins: [foreign.py]\n", "hydra: {sweeper: {params: {plugins: foreign.py}}}\n"],
    ids=["option", "sweeper"],
)
def test_a_configuration_cannot_name_plugins(text, sweep, typed, configs):
    Path("foreign.py").write_text(LEARNER.replace('"mine"', '"foreign"'))
    Path("experiment").mkdir()
    Path("experiment/evil.yaml").write_text(f"# @package _global_\n{text}")
    words = ("train", *sweep, "--config-dir", ".", "experiment=evil", *typed)
    if typed or ("sweeper" in text and not sweep):  # the command line wins; nobody sweeps
        assert [job.plugins for job in configs(*words)] == [[record("my.py")] * len(typed)]
    else:
        with pytest.raises(ValueError, match="cannot name code to run: give plugins= on the comm"):
            configs(*words)
    assert [Path(plugin["path"]).name for plugin in plugins()] == ["my.py"] * len(typed)


MakeRun = Callable[..., Path]


@pytest.fixture
def run_with_plugin(configs: Configs, make_run: MakeRun) -> MakeRun:
    """A run in the folder `run` that was trained with `my.py`."""
    del configs  # it makes my.py
    use_plugins(["my.py"])
    make_run(learner={"name": "mine"}, plugins=plugins())
    use_plugins([])
    return make_run


OPENED = [
    ("eval", "ckpt=run"),
    ("eval", "ckpt=run", "learner.depth=4"),
    ("train", "resume=run"),
    ("train", "resume=true", "run_dir=run", "train.steps=9"),
    ("predict", "ckpt=run", "support=a.csv", "query=b.csv", "out=c.csv"),
]


@pytest.mark.usefixtures("run_with_plugin")
@pytest.mark.parametrize("words", OPENED, ids=" ".join)
def test_a_run_that_needs_a_plugin_says_so_and_opens_with_it(words, configs):
    assert refusal(configs, *words) == (
        f"run was trained with plugins=my.py (sha256 {record('my.py')['sha256'][:8]}…), "
        "which is never loaded by itself: give plugins=my.py"
    )
    (config,) = configs(*words, "plugins=my.py")
    assert config.learner["name"] == "mine"
    assert config.plugins == [record("my.py")]


@pytest.mark.usefixtures("run_with_plugin")
def test_another_plugin_beside_it_does_not_hide_that_one_is_missing(configs):
    Path("your.py").write_text(TASK)
    assert "give plugins=my.py" in refusal(configs, "eval", "ckpt=run", "plugins=your.py")


@pytest.mark.usefixtures("run_with_plugin")
def test_a_plugin_may_have_moved_or_have_changed_which_is_said_once(configs, caplog):
    caplog.set_level(logging.WARNING)
    Path("moved").mkdir()
    Path("moved/my.py").write_text(LEARNER)
    configs("eval", "ckpt=run", "plugins=moved/my.py")
    assert caplog.messages == []
    then = record("my.py")["sha256"]
    Path("my.py").write_text(f"{LEARNER}# changed\n")
    (config,) = configs("eval", "ckpt=run", "plugins=my.py")
    now = record("my.py")["sha256"]
    assert config.plugins == [record("my.py")]
    assert caplog.messages == [
        f"warning: run was trained with another my.py (sha256 {then[:8]}…; this one has {now[:8]}…)"
    ]


@pytest.mark.usefixtures("run_with_plugin")
def test_a_plugin_that_lost_the_choice_is_said_to_have_changed(configs, caplog):
    Path("my.py").write_text(LEARNER.replace('"mine"', '"other"'))
    said = refusal(configs, "eval", "ckpt=run", "plugins=my.py")
    assert "saved in run: learner=mine: expected " in said
    assert said.endswith("tfidf or other")
    assert "was trained with another my.py" in caplog.text


def test_a_run_that_had_a_plugin_and_does_not_need_it_opens_without(configs, make_run):
    use_plugins(["my.py"])
    make_run(plugins=plugins())
    (config,) = configs("train", "resume=run")
    assert (config.learner["name"], config.plugins) == ("fomaml", [])


def test_help_lists_a_plugins_choices(configs):
    use_plugins(plugin_files(["--help", "plugins=my.py"]))
    lines = command_help("train").splitlines()
    assert "learner=mine: My own." in lines
    assert "  learner.depth=3            in layers" in lines
    assert choice("learner", "mine").is_plugged
    del configs


@pytest.mark.usefixtures("run_with_plugin")
def test_another_file_with_a_choice_of_that_name_is_used_and_said(configs, caplog):
    Path("other.py").write_text(f"{LEARNER}# other\n")
    configs("eval", "ckpt=run", "plugins=other.py")
    (said,) = caplog.messages
    assert said.startswith("warning: run was trained with my.py (sha256 ")
    assert said.endswith("), which is not in use")


def test_a_plugin_that_changes_while_metaformer_runs_is_refused(configs):
    (config,) = configs("data", "plugins=my.py")
    Path("my.py").write_text(f"{LEARNER}# changed\n")
    with pytest.raises(ValueError, match=r"my\.py was changed while metaformer ran: start again$"):
        build_task(config)
