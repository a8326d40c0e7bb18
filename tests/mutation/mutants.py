"""Source → mutants. Pure: each mutant is the module's text with one small change.

What is not changed: docstrings, the wording of sentences (strings with a letter and a space), names of type
variables, and what mypy guards: `frozen`, `kw_only`, annotations other than the bounds in `Meta(…)`, which
msgspec enforces.
"""

import ast
import copy
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import takewhile
from typing import Any

from msgspec import Struct

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
}
_DECLARED = ("frozen", "kw_only")
_CONTEXT = 60
_REMOVABLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Continue, ast.Break)
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any"}


class Mutant(Struct, frozen=True):
    """One change: `line` of the original, where it is, and the text of the changed module."""

    line: int
    where: str
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        return f"{self.where}: {self.before} → {self.after}"


Edit = Callable[[], object]
"""Changes the tree in place."""


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its lines; none that reads as the original does."""
    plain = ast.unparse(ast.parse(source))
    seen = {plain}
    count = len(list(_sites(ast.parse(source))))
    for number in range(count):
        tree = ast.parse(source)
        line, where, edit = list(_sites(tree))[number]
        edit()
        text = ast.unparse(ast.fix_missing_locations(tree))
        if text not in seen:
            seen.add(text)
            before, after = _difference(plain, text)
            yield Mutant(line, where, before, after, text)


def _difference(plain: str, text: str) -> tuple[str, str]:
    """The lines that differ, cut to what stands around the change."""
    old, new = plain.splitlines(), text.splitlines()
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    before, after = (" ".join(map(str.strip, lines)) for lines in (old, new))
    head = _shared(before, after)
    tail = _shared(before[head:][::-1], after[head:][::-1])
    start = max(0, head - _CONTEXT)
    return before[start : len(before) - tail + _CONTEXT], after[start : len(after) - tail + _CONTEXT]


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _sites(tree: ast.Module) -> Iterator[tuple[int, str, Edit]]:
    for node, where in _walk(tree, ""):
        for edit in _edits(node, in_function=where.endswith(")")):
            yield getattr(node, "lineno", 0), where, edit


def _walk(node: ast.AST, where: str) -> Iterator[tuple[ast.AST, str]]:
    """The nodes whose change can matter, each with the name of the class or function that it is in."""
    if isinstance(node, ast.ClassDef):
        where = f"{where}.{node.name}".lstrip(".")
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        where = f"{where.removesuffix('()')}.{node.name}()".lstrip(".")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "TypeVar":
        return
    yield node, where
    for name, value in ast.iter_fields(node):
        children = [
            child for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)
        ]
        if isinstance(node, ast.JoinedStr) and any(map(_is_sentence, children)):
            children = [child for child in children if isinstance(child, ast.FormattedValue)]
        if name in ("annotation", "returns"):
            children = [call for child in children for call in ast.walk(child) if isinstance(call, ast.Call)]
        elif name == "decorator_list" or isinstance(node, ast.ImportFrom | ast.Import):
            continue
        elif name == "keywords" and isinstance(node, ast.ClassDef):
            children = [
                child for child in children if isinstance(child, ast.keyword) and child.arg not in _DECLARED
            ]
        elif name == "body" and _has_docstring(node):
            children = children[1:]
        for child in children:
            yield from _walk(child, where)


def _is_sentence(node: ast.AST) -> bool:
    """Whether this is text for a person, whose wording no test has to hold."""
    match node:
        case ast.Constant(value=str() as text):
            return " " in text and re.search("[A-Za-z]", text) is not None
        case _:
            return False


def _has_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(node, clean=False) is not None
    )


def _edits(node: ast.AST, *, in_function: bool) -> Iterator[Edit]:
    yield from _other_operators(node)
    yield from _other_values(node)
    yield from _other_branches(node)
    if in_function:
        yield from _without_statements(node)


def _other_operators(node: ast.AST) -> Iterator[Edit]:
    match node:
        case ast.Compare(ops=[operator]):
            for comparison in _COMPARISONS.get(type(operator), ()):
                yield _setting(node, "ops", [comparison()])
        case ast.BoolOp(op=operator, values=values):
            yield _setting(node, "op", ast.Or() if isinstance(operator, ast.And) else ast.And())
            yield from _dropping_each(values)
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in _ARITHMETIC:
            yield _setting(node, "op", _ARITHMETIC[type(operator)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield _becoming(node, operand)


def _other_values(node: ast.AST) -> Iterator[Edit]:
    match node:
        case ast.Constant(value=value) if not _is_sentence(node) and (other := _other(value)) is not None:
            yield _setting(node, "value", other)
        case ast.FormattedValue():
            yield _becoming(node, ast.Constant("…"))
        case ast.Call(func=ast.Name(id=name)) if name in _FUNCTIONS:
            yield _setting(node, "func", ast.Name(_FUNCTIONS[name]))
        case ast.Lambda():
            yield _setting(node, "body", ast.Constant(None))
        case ast.Return(value=ast.expr() as result) if not isinstance(result, ast.Constant):
            yield _setting(node, "value", ast.Constant(None))


def _other_branches(node: ast.AST) -> Iterator[Edit]:
    match node:
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield _setting(node, "test", ast.UnaryOp(ast.Not(), test))
        case ast.comprehension(ifs=conditions):
            yield from _dropping_each(conditions)
        case ast.MatchOr(patterns=patterns):
            yield from _dropping_each(patterns)
        case ast.ExceptHandler(type=ast.Tuple(elts=types)):
            yield from _dropping_each(types)


def _without_statements(node: ast.AST) -> Iterator[Edit]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list):
            for index, statement in enumerate(block):
                if isinstance(statement, _REMOVABLE) and not _is_constant(statement):
                    yield _removing(block, index)


def _is_constant(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _other(value: object) -> object:
    """Another constant of the same type; None for what stays."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}X"
        case bytes():
            return value + b"X"
        case _:
            return None


def _setting(node: ast.AST, name: str, value: object) -> Edit:
    return lambda: setattr(node, name, value)


def _dropping_each(items: list[Any]) -> Iterator[Edit]:
    for index in range(len(items)):
        yield partial(items.pop, index)


def _removing(block: list[Any], index: int) -> Edit:
    return lambda: block.__setitem__(index, ast.Pass())


def _becoming(node: ast.AST, other: ast.AST) -> Edit:
    """`node` turned into `other` where it stands."""

    def edit() -> None:
        node.__class__ = type(other)
        node.__dict__ = copy.copy(other.__dict__)

    return edit
