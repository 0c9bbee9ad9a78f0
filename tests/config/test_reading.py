"""What is read from the text of a Python file, without running any of it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from types import NoneType

import pytest

from metaformer_cli.config.option import MISSING
from metaformer_cli.config.reading import Marked, PythonFile, marked


def file(text: str, name: str = "mine.py") -> PythonFile:
    return PythonFile(Path(name), textwrap.dedent(text).encode())


def read(text: str, *room: PythonFile) -> Marked:
    (found,) = marked(file(text), room)
    return found


SOUND = '''
    import sys
    sys.exit("never run")

    @learner("mine", "ours", inputs=("text",), rules=(at_most("least", "most"),))
    class Mine:
        """What it is,
        in a few words.

        More of it.
        """

        def __init__(
            self,
            model,
            objective: Objective,
            *,
            rate: Annotated[float, positive],  # of a step
            least: Annotated[int | None, at_least(-2), tunable] = -1,  # é, and a #
            # second line
            most: int = 3,
            how: Literal["a", "b"] | None = None,  # of the two
            path: Annotated[
                str,
                a_path,
            ] = "~/x",  # where
            known: bool = True  # last
        ) -> None: ...
'''


def test_a_marked_class_is_read_without_running_its_file():
    mine = read(SOUND)
    assert (mine.group, mine.names, mine.attribute) == ("learner", ("mine", "ours"), "Mine")
    assert mine.doc == "What it is, in a few words."
    assert mine.supplied == ("model", "objective")
    declared = {key: mine.declared[key] for key in ("trains", "inputs", "outputs", "refuses")}
    assert declared == {"trains": True, "inputs": ("text",), "outputs": None, "refuses": {}}


def test_an_options_type_default_and_comment_are_read():
    options = read(SOUND).options
    assert list(options) == ["rate", "least", "most", "how", "path", "known"]
    docs = [option.doc for option in options.values()]
    assert docs == ["of a step", "é, and a # second line", "", "of the two", "where", "last"]
    defaults = [option.default for option in options.values()]
    assert defaults == [MISSING, -1, 3, None, "~/x", True]
    assert (options["rate"].key, options["rate"].types) == ("learner.rate", (float,))
    assert (options["least"].types, options["least"].tunable) == ((int, NoneType), True)
    assert (options["how"].types, options["how"].names) == ((NoneType, str), ("a", "b"))
    assert options["path"].is_path
    assert options["how"].kind == "null or text"


ROOM = file(
    """
    class Base:
        def __init__(self, model, *, rate: float = 1.0): ...  # of the base

    class Middle(Base):
        pass

    class Mixin:
        pass
    """,
    "room.py",
)


@pytest.mark.parametrize(
    "base", ["Base", "Middle", "room.Base", "nn.Module, Mixin, Middle", "Middle[T]"]
)
def test_a_class_without_init_takes_its_bases(base):
    mine = read(f'@learner("mine")\nclass Mine({base}):\n    """Mine."""\n', ROOM)
    assert mine.supplied == ("model",)
    assert [option.doc for option in mine.options.values()] == ["of the base"]


def test_an_init_that_ends_in_options_adds_its_own_and_may_state_one_anew():
    text = """
        @choices.learner("mine")
        class Mine(Middle):
            def __init__(self, *{0}, steps: int = 2, rate: float = 3.0{1}): ...
    """
    mine = read(text.format("supplied", ", **options"), ROOM)
    assert mine.supplied == ("model",)
    assert {name: option.default for name, option in mine.options.items()} == {
        "rate": 3.0,
        "steps": 2,
    }
    alone = read(text.format("", ""), ROOM)
    assert (alone.supplied, list(alone.options)) == ((), ["steps", "rate"])


def test_a_class_may_have_the_name_of_its_base_elsewhere():
    text = '@learner("mine")\nclass Base(room.Base):\n    """Mine."""\n'
    assert list(read(text, ROOM).options) == ["rate"]
    with pytest.raises(ValueError, match=r"mine\.py:2: A: there is no class A here or in its room"):
        read('@learner("a")\nclass A(A):\n    """A."""\n')


def test_a_source_is_a_function():
    text = '@source("a", "b")\ndef load(name: str, seed: int, *, path: str):  # where\n    "A."\n'
    found = read(text)
    assert (found.group, found.names, found.supplied) == ("data", ("a", "b"), ("name", "seed"))
    assert found.options["path"].doc == "where"


OPTION = '@learner("mine")\nclass Mine:\n    def __init__(self, *, {}): ...\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OPTION.format("a: Tensor = 1"), r"mine\.py:3: cannot read Tensor: expected constants, "),
        (OPTION.format("a: list[int] = 1"), r"mine\.py:3: cannot read list\[int\]"),
        (OPTION.format("a: os.system('x') = 1"), r"mine\.py:3: cannot read os.system\('x'\)"),
        (OPTION.format("a: Annotated[int, at_least(lot)] = 1"), "cannot read Annotated"),
        (OPTION.format("a: Annotated[str, matching('(', 'x')] = ''"), "cannot read Annotated"),
        (OPTION.format("a: int = SIZE"), r"mine\.py:3: cannot read SIZE"),
        (OPTION.format("a: int = int"), "got \"<class 'int'>\""),
        (OPTION.format("a: Literal[1, 2] = 1"), "expected int, float, bool, str, or Literal of"),
        (OPTION.format("a: None = None"), "expected int, float, bool, str"),
        (OPTION.format("a: at_least(1) = 1"), "expected int, float, bool, str"),
        (OPTION.format("name: str = ''"), r"mine\.py:3: name is what a choice is called"),
        (OPTION.format("a = 1"), r"mine\.py:3: the option a has no type: give it one"),
        (OPTION.format("a: int = 'x'"), r"mine\.py:3: learner\.a: expected a whole number, got"),
        (OPTION.format("a: Annotated[int, at_least(2)] = 1"), r"learner\.a=1: expected at least 2"),
        ("@learner\nclass Mine: ...\n", r"mine\.py:1: @learner has no name: expected @learner"),
        ("@learner(3)\nclass Mine: ...\n", "expected texts as names"),
        ("@learner('a', train=True)\nclass Mine: ...\n", "unexpected keyword argument 'train'"),
        ("@task('a', inputs='text')\nclass Mine: ...\n", "missing a required argument: 'outputs'"),
        ("@learner('a', inputs='text')\nclass A: ...\n", r"expected e\.g\. inputs=\(\"text\",\)"),
        ("@model('a', name_is='path')\nclass A: ...\n", "'path' is no option of it"),
        ("@learner(**{'a': 1})\nclass Mine: ...\n", "has no name"),
        ("def :\n", r"mine\.py:1: not Python: invalid syntax"),
        ("x = '\0'", r"mine\.py.*: not Python"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_its_place(text, said):
    with pytest.raises(ValueError, match=said) as refused:
        list(marked(PythonFile(Path("mine.py"), text.encode()), []))
    assert "\n" not in str(refused.value)


def test_what_is_not_marked_is_passed_over():
    assert list(marked(file("@cache\ndef f(*, a=1): ...\n\n@x.y()\nclass A: ...\n"), [])) == []


def test_what_a_base_refuses_its_learners_refuse_too():
    base = PythonFile(
        Path("base.py"),
        b'class Base:\n    refuses: ClassVar[Mapping[str, str]] = {"a.b": "why", "c.d": "base"}\n'
        b"    def __init__(self, model): ...\n",
    )
    text = '@learner("mine", refuses={"c.d": "mine"})\nclass Mine(Base):\n    """Mine."""\n'
    assert read(text, base).declared["refuses"] == {"a.b": "why", "c.d": "mine"}
