"""Marked choices and their options, read from the text of Python files: nothing is imported or run.

What is written must be plain: constants, the types `int`, `float`, `bool`, `str` and `None`,
`Literal`, `Annotated`, and the words of `metaformer_cli.choices`.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, Literal, TypeAlias

from metaformer_cli import choices as words
from metaformer_cli.bounds import SETTINGS, regular
from metaformer_cli.config.checks import listed
from metaformer_cli.config.option import MISSING, Option, option

MARKS: Final[Mapping[str, Callable[..., Any]]] = {
    "task": words.task,
    "data": words.source,
    "model": words.model,
    "learner": words.learner,
}
_GROUP_OF: Final = {mark.__name__: group for group, mark in MARKS.items()}
_VOCABULARY: Final[Mapping[str, Any]] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "Annotated": Annotated,
    "Literal": Literal,
    "at_least": words.at_least,
    "positive": words.positive,
    "fraction": words.fraction,
    "matching": words.matching,
    "tunable": words.tunable,
    "a_path": words.a_path,
    "at_most": words.at_most,
    "divisible": words.divisible,
}
INHERITED: Final = frozenset({"refuses", "suits"})  # arguments of marks that bases may give too
Class: TypeAlias = ast.ClassDef
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class PythonFile:
    """A Python file, as it was when it was read.

    Attributes:
        path: where it is.
        content: what it holds.
    """

    path: Path
    content: bytes

    @classmethod
    def read(cls, path: Path) -> PythonFile:
        """Read it.

        Raises:
            ValueError: it is missing, or no file, or far too large.
        """
        try:
            return cls(path, regular(path, SETTINGS).read_bytes())
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}: expected a Python file") from None

    @property
    def sha256(self) -> str:
        """What its content is known by."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def text(self) -> str:
        """Its content as text.

        Raises:
            ValueError: it is none.
        """
        try:
            return self.content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError(f"{self.path} is no UTF-8 text: expected a Python file") from None

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree.

        Raises:
            ValueError: it is not Python.
        """
        try:
            return ast.parse(self.text)
        except SyntaxError as error:
            raise ValueError(f"{self.path}:{error.lineno}: not Python: {error.msg}") from None
        except (ValueError, RecursionError) as error:  # a NUL byte, or nested too deep
            raise ValueError(f"{self.path}: not Python: {error}") from None

    @property
    def may_have_marks(self) -> bool:
        """Whether a line looks like a mark; if none does, the file need not be parsed."""
        return any(re.search(rf"^@.*\b{mark}\b", self.text, re.MULTILINE) for mark in _GROUP_OF)

    def a_class(self, name: str) -> ast.ClassDef | None:
        """Its class of that name, if it has one."""
        if not name or f"class {name}" not in self.text:  # it need not be parsed
            return None
        classes = [node for node in self.tree.body if isinstance(node, ast.ClassDef)]
        return next((node for node in classes if node.name == name), None)

    def comment(self, node: ast.expr | ast.stmt | ast.arg) -> str:
        """The comment behind a node, with the lines of comment alone that follow it."""
        assert node.end_lineno is not None
        lines = self.text.split("\n")[node.end_lineno - 1 :]
        behind = lines[0].encode()[node.end_col_offset :].decode()
        if not (begins := re.match(r"[\s,)]*(?:->[^#]*)?:?[\s.]*#\s*(.*)", behind)):
            return ""
        found = [begins[1].strip()]
        for line in lines[1:]:
            if not (goes_on := re.match(r"\s*#\s*(.*)", line)):
                break
            found.append(goes_on[1].strip())
        return " ".join(found)


@dataclass(frozen=True)
class Marked:
    """A class or function with a mark.

    Attributes:
        group: `task`, `data`, `model` or `learner`.
        names: what it is called.
        declared: the other arguments of the mark, with their defaults.
        doc: the first paragraph of its docstring.
        supplied: its positional parameters, which its builder supplies.
        options: its keyword-only parameters.
        attribute: the name that it has in its file.
        place: "file:line", for messages.
    """

    group: str
    names: tuple[str, ...]
    declared: Mapping[str, Any]
    doc: str
    supplied: tuple[str, ...]
    options: Mapping[str, Option]
    attribute: str
    place: str


def marked(file: PythonFile, room: Sequence[PythonFile]) -> Iterator[Marked]:
    """What is marked in a file; base classes are looked up by name in it, then in `room`.

    Raises:
        ValueError: a mark or an option that cannot be read, with its line.
    """
    for node in file.tree.body:
        if not isinstance(node, Class | Function):
            continue
        for decorator in node.decorator_list:
            if (name := _name(decorator)) in _GROUP_OF:
                group, place = _GROUP_OF[name], f"{file.path}:{node.lineno}"
                declared = _declared(decorator, name, file)
                names = declared.pop("names")
                supplied, options = _parameters(node, file, group, room)
                _check_mark(f"{place}: @{name}", group, declared, options)
                for fixed in declared.get("fixes", ()):
                    del options[fixed]
                for word in declared.keys() & INHERITED:
                    found = _inherited(word, node, file, room) if isinstance(node, Class) else {}
                    declared[word] = found | (declared[word] or {})
                doc = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
                yield Marked(group, names, declared, doc, supplied, options, node.name, place)


def _declared(decorator: ast.expr, mark: str, file: PythonFile) -> dict[str, Any]:
    """The arguments of a mark by name, `names` among them."""
    place = f"{file.path}:{decorator.lineno}"
    if not isinstance(decorator, ast.Call) or not decorator.args:
        raise ValueError(f'{place}: @{mark} has no name: expected @{mark}("NAME", ...)')
    values = [_value(argument, file) for argument in decorator.args]
    named = {str(word.arg): _value(word.value, file) for word in decorator.keywords}
    try:
        bound = inspect.signature(MARKS[_GROUP_OF[mark]]).bind(*values, **named)
    except TypeError as error:
        raise ValueError(f"{place}: @{mark}: {error}") from None
    bound.apply_defaults()
    if not all(isinstance(name, str) for name in bound.arguments["names"]):
        raise ValueError(f"{place}: @{mark}: expected texts as names")
    return dict(bound.arguments)


def _check_mark(
    place: str, group: str, declared: Mapping[str, Any], options: Mapping[str, Option]
) -> None:
    """Check the arguments of a mark against each other and against the options."""
    for name in ("inputs", "outputs"):
        value = declared.get(name)
        wanted = str if group == "task" else (tuple, NoneType)
        if name in declared and not isinstance(value, wanted):
            example = f'{name}="text"' if group == "task" else f'{name}=("text",)'
            raise ValueError(f"{place}: {name}={value!r}: expected e.g. {example}")
    named = [name for rule in declared["rules"] for name in (rule.first, rule.second)]
    named += [*declared.get("answers", ()), *declared.get("fixes", ())]
    named += filter(None, [declared.get("name_is")])
    for name in named:
        if name not in options:
            raise ValueError(f"{place}: {name!r} is no option of it: expected {listed([*options])}")


def _parameters(
    node: Class | Function,
    file: PythonFile,
    group: str,
    room: Sequence[PythonFile],
    below: Sequence[Class] = (),
) -> tuple[tuple[str, ...], dict[str, Option]]:
    """What a class or function takes: what its builder supplies, and its options."""
    if isinstance(node, Function):
        return _own_parameters(node, file, group)
    supplied: tuple[str, ...] = ()
    options: dict[str, Option] = {}
    inits = [member for member in node.body if isinstance(member, Function)]
    for init in [member for member in inits if member.name == "__init__"]:
        names, options = _own_parameters(init, file, group)
        supplied = names[1:]  # without self
        if init.args.kwarg is None:
            return supplied, options
    found = list(_bases(node, file, room, below))
    for parent, there in found:
        inherited, more = _parameters(parent, there, group, room, (node, *below))
        if inherited or more:  # else the __init__ is another base's
            return (*supplied, *inherited), {**more, **options}
    if node.bases and not (found or inits or below):
        raise ValueError(
            f"{file.path}:{node.lineno}: {node.name}: there is no class "
            f"{ast.unparse(node.bases[0])} here or in its room: name the base as where it stands"
        )
    return supplied, options


def _bases(
    node: Class, file: PythonFile, room: Sequence[PythonFile], below: Sequence[Class] = ()
) -> Iterator[tuple[Class, PythonFile]]:
    """The classes that a class derives from, with their files, where they are found by name."""
    for base in node.bases:
        for there in (file, *room):
            parent = there.a_class(_name(base))
            if parent is not None and parent not in (node, *below):
                yield parent, there
                break


def _inherited(
    word: str, node: Class, file: PythonFile, room: Sequence[PythonFile]
) -> dict[str, Any]:
    """What the bases of a class say by their class variables of that name."""
    found: dict[str, Any] = {}
    for parent, there in _bases(node, file, room):
        found |= _inherited(word, parent, there, room)
        for member in parent.body:
            if isinstance(member, ast.AnnAssign) and _name(member.target) == word:
                assert member.value is not None
                found |= _value(member.value, there)
    return found


def _name(node: ast.expr) -> str:
    """The last name in `a.b`, `b(...)` or `b[...]`; of anything else none."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case ast.Call():
            return _name(node.func)
        case ast.Subscript():
            return _name(node.value)
    return ""


def _own_parameters(
    function: Function, file: PythonFile, group: str
) -> tuple[tuple[str, ...], dict[str, Option]]:
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    options = {}
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        place = f"{file.path}:{argument.lineno}"
        if argument.arg == "name":
            raise ValueError(f"{place}: name is what a choice is called: give the option another")
        if argument.annotation is None:
            raise ValueError(f"{place}: the option {argument.arg} has no type: give it one")
        hint = _value(argument.annotation, file)
        value = MISSING if default is None else _value(default, file)
        doc = file.comment(argument if default is None else default)
        try:
            options[argument.arg] = option(f"{group}.{argument.arg}", hint, value, doc)
            if default is not None:
                options[argument.arg].checked(value)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
    return tuple(names), options


def _value(node: ast.expr, file: PythonFile) -> Any:
    """What a plain expression stands for."""
    try:
        return _plain(node)
    except (KeyError, TypeError, ValueError, re.error):
        raise ValueError(
            f"{file.path}:{node.lineno}: cannot read {ast.unparse(node)}: expected constants, "
            f"None, and {', '.join(_VOCABULARY)}"
        ) from None


def _plain(node: ast.expr) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return _VOCABULARY[node.id]
        case ast.Attribute():  # choices.at_least
            return _VOCABULARY[node.attr]
        case ast.Tuple() | ast.List():
            return tuple(_plain(member) for member in node.elts)
        case ast.Dict():
            return {_plain(key): _plain(value) for key, value in _items(node)}
        case ast.UnaryOp(op=ast.USub()):
            return -_plain(node.operand)
        case ast.BinOp(op=ast.BitOr()):
            return _plain(node.left) | _plain(node.right)
        case ast.Subscript() if _plain(node.value) in (Literal, Annotated):
            return _plain(node.value)[_plain(node.slice)]
        case ast.Call(keywords=[]):
            return _plain(node.func)(*[_plain(argument) for argument in node.args])
    raise TypeError(type(node).__name__)


def _items(node: ast.Dict) -> Iterator[tuple[ast.expr, ast.expr]]:
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            raise TypeError("** in a dictionary")
        yield key, value
