"""What there is to choose from, compared with what the classes and functions really take."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from metaformer_cli.config.option import MISSING, Option, option
from metaformer_cli.config.registry import ADDED, GROUPS, Choice, choice, choices, use_plugins

ALL = [own for group in GROUPS for own in choices(group).values()]
CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_choices_are_found():
    assert len(ALL) >= 12
    assert [own for own in ALL if not own.doc] == []


def signature(member: Any, group: str) -> Mapping[str, Option]:
    """The options that Python itself finds, in a class's own __init__ and those it passes on to."""
    found: dict[str, Option] = {}
    for function in [member] if inspect.isfunction(member) else inits(member):
        hints = get_type_hints(function, include_extras=True)
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is parameter.KEYWORD_ONLY and name not in found:
                default = MISSING if parameter.default is parameter.empty else parameter.default
                found[name] = option(f"{group}.{name}", hints[name], default, "")
    return found


def inits(kind: type[Any]) -> list[Any]:
    found = []
    for base in kind.__mro__:
        if base is not object and "__init__" in vars(base):
            found.append(vars(base)["__init__"])
            if not any(p.kind is p.VAR_KEYWORD for p in parameters(found[-1])):
                break
    return found


def parameters(function: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


@pytest.mark.parametrize("own", ALL, ids=lambda own: f"{own.group}-{own.name}")
def test_every_option_is_the_parameter_that_python_finds(own: Choice):
    loaded = own.load()
    expected = dict(signature(loaded, own.group))
    for fixed in own.declared.get("fixes", ()):
        del expected[fixed]
    added = ADDED.get(own.group, {})
    read = {n: replace(option, doc="") for n, option in own.options.items() if n not in added}
    assert read == expected
    assert added.items() <= own.options.items()
    # what is positional besides has no default that configuration could miss
    first = loaded if inspect.isfunction(loaded) else inits(loaded)[0] if inits(loaded) else None
    found = parameters(first) if first else ()
    positional = [p.name for p in found if p.kind is p.POSITIONAL_OR_KEYWORD]
    positional = [name for name in positional if name != "self"]
    assert positional == list(own.supplied)[: len(positional)]


@pytest.mark.parametrize("own", ALL, ids=lambda own: f"{own.group}-{own.name}")
def test_every_option_says_what_it_means(own: Choice):
    assert [key for key, read in own.options.items() if not read.doc] == []


@pytest.mark.parametrize("group", GROUPS)
def test_each_choice_has_a_yaml_that_takes_its_options_and_sets_its_name(group):
    files = {path.stem: path.read_text() for path in (CONFIGS / group).glob("*.yaml")}
    assert files.keys() == choices(group).keys()
    for name, text in files.items():
        comment, *rest = text.splitlines()
        assert comment.startswith("# ")
        rest = [line for line in rest if not line.startswith("  - override /")]
        assert rest == ["defaults:", f"  - /schema_{group}_{name}@_here_", f"name: {name}"]


def test_a_name_that_there_is_not_is_answered_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"^learner=mamml: expected .*; did you mean maml\?$"):
        choice("learner", "mamml")


def test_reading_all_choices_imports_none_of_them():
    code = (
        "import sys\n"
        "from metaformer_cli.config.registry import GROUPS, choices\n"
        "for group in GROUPS: choices(group)\n"
        "rooms = ('tasks', 'data', 'models', 'learners')\n"
        "print([name for name in sys.modules if name.startswith(\n"
        "    tuple(f'metaformer_cli.{room}' for room in rooms) + ('torch',))])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


CHANGED = """
from metaformer_cli.choices import source


@source("mine")
def mine(name, min_rows, *, changed: bool = False):
    ...
"""
MINE = '''
from typing import Annotated

from metaformer_cli.choices import at_least, learner, model
from metaformer_cli.learners.fomaml import FOMAML

print("imported")


@learner("mine")
class Mine(FOMAML):
    """My own."""

    def __init__(
        self,
        *supplied,
        depth: Annotated[int, at_least(1)] = 3,  # in layers
        **options,
    ):
        super().__init__(*supplied, **options)


@model("wide")
class Wide:
    """Wide."""
'''


def plugin(folder: Path, text: str = MINE, name: str = "mine.py") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_plugin_is_read_at_once_and_imported_when_it_is_chosen(tmp_path, capsys):
    use_plugins([plugin(tmp_path)])
    mine = choice("learner", "mine")
    assert capsys.readouterr().out == ""
    assert list(mine.options) == [*choice("learner", "fomaml").options, "depth"]
    assert mine.options["depth"].doc == "in layers"
    loaded = mine.load()
    assert loaded.__name__ == "Mine"
    assert choice("learner", "mine").load() is loaded
    assert choice("model", "wide").load().__name__ == "Wide"
    assert capsys.readouterr().out == "imported\n"


def test_other_plugins_take_the_place_of_the_first(tmp_path):
    use_plugins([plugin(tmp_path)])
    use_plugins([])
    with pytest.raises(ValueError, match="learner=mine: expected"):
        choice("learner", "mine")


def test_a_plugin_that_was_changed_meanwhile_is_not_imported(tmp_path):
    use_plugins([plugin(tmp_path, f"{MINE}# new\n")])
    mine = choice("learner", "mine")
    plugin(tmp_path, f"{MINE}# newer\n")
    with pytest.raises(ValueError, match=r"mine\.py was changed while metaformer ran: start again"):
        mine.load()


def test_a_plugin_whose_import_fails_is_one_line(tmp_path):
    use_plugins([plugin(tmp_path, MINE + "\nimport nothing_like_it\n")])
    for _ in range(2):
        with pytest.raises(ValueError, match=r"importing it failed \(ModuleNotFoundError: No"):
            choice("learner", "mine").load()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", r"mine\.py: expected a class or function with a mark .*, and there is none"),
        ("class :\n", r"mine\.py:1: not Python"),
        (MINE.replace('"mine"', '"maml"'), r"learner=maml exists already, in metaformer_cli\.lear"),
        (MINE + MINE, r"model=wide exists already, in .*mine\.py: give it another name"),
        (CHANGED, r"mine\.py:6: data\.changed is an option that all have already: give it another"),
        (MINE.replace("int", "Tensor"), r"mine\.py:17: cannot read Annotated\[Tensor"),
    ],
)
def test_a_broken_plugin_is_one_line(text, said, tmp_path):
    with pytest.raises(ValueError, match=said) as refused:
        use_plugins([plugin(tmp_path, text)])
    assert "\n" not in str(refused.value)


def test_a_plugin_that_is_not_there_or_is_no_text_is_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.py: No such file .*: expected a Python file"):
        use_plugins([str(tmp_path / "nothing.py")])
    with pytest.raises(ValueError, match="Is a directory: expected a Python file"):
        use_plugins([str(tmp_path)])
    (tmp_path / "mine.py").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"mine\.py is no UTF-8 text: expected a Python file"):
        use_plugins([str(tmp_path / "mine.py")])
    with pytest.raises(ValueError, match=r"mine: expected a Python file, with a name like x\.py"):
        use_plugins([plugin(tmp_path, name="mine")])


def test_two_plugins_may_not_share_a_name(tmp_path):
    other = plugin(tmp_path, name="other.py")
    with pytest.raises(ValueError, match=r"other\.py: model=wide exists already, in .*mine\.py"):
        use_plugins([plugin(tmp_path), other])
