"""The rules without one of them, to see whether that would be found."""

from __future__ import annotations

import ast
import io
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recompress.errors import VerificationFailed
from recompress.layer import partial
from recompress.layer.partial import PartialPull, Verdict
from recompress.layer.tarstream import TarStream
from recompress.twin import why_full
from tests.differential.experiment import Result
from tests.differential.pulls import Stack


def by_rules(layer: bytes, rules: type[PartialPull] = PartialPull) -> Verdict:
    """The verdict on a tar stream by the rules, or by what is left of them."""
    source = _Bytes(layer)
    stream, judge = TarStream(source), rules()
    try:
        while (header := stream.next_header()) is not None:
            judge.see(header)
            if header.type == "reg":
                source.read_exactly(header.size)
    except VerificationFailed as error:
        judge.full_pull(str(error))
    judge.see_trailing(source.read_exactly(len(layer)))
    return Verdict(judge.end(), judge.changes_root, None)


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read_exactly(self, count: int) -> bytes:
        return self._file.read(count)


_UNPULLABLE = "podman cannot pull the gzip image either"
_NOT_TO_BE_SHOWN = {
    "_entry: path in self._deleted": "the next line gives another reason",
    "_entry: not header.link_name": "a file has none, whatever its header says",
    "_file: self._is_early and header.size": "it fails by a race, not each time",
    "_see_root: header.type != 'dir'": _UNPULLABLE,
    "_whiteout: deleted in _DOTS": _UNPULLABLE,
    "_hard_link: target != path": _UNPULLABLE,
    "_hard_link: target in self._paths": "that, or it finds the same file in another way",
    "_hard_link: target not in self._directories": _UNPULLABLE,
    "_hard_link: not target.rpartition(b'/')[2].startswith(_WHITEOUT)": _UNPULLABLE,
}
"""Parts of rules that no difference can show, and why."""


def missed(found: Iterable[tuple[Stack, Result]]) -> list[str]:
    """The rules, or parts of one, that could be taken out without that these results would show it."""
    # What makes no difference, and what no rule of partial.py is against, cannot show it.
    telling = []
    for stack, result in found:
        before = why_full(by_rules(layer) for layer in stack)
        numbers = [
            n
            for n, difference in enumerate(result.difference)
            if difference is not None and before[n] is not None
        ]
        if numbers:
            telling.append((stack, numbers))
    return [mutant.rule for mutant in mutants() if not any(_shows(mutant, *case) for case in telling)]


def _shows(mutant: Mutant, stack: Stack, numbers: Sequence[int]) -> bool:
    why = why_full(by_rules(layer, mutant.rules) for layer in stack)
    return any(why[number] is None for number in numbers)


@dataclass(frozen=True, slots=True)
class Mutant:
    """The rules without one of them, or without a part of one. `rule` is its place and its text."""

    rule: str
    rules: type[PartialPull]


def mutants() -> Iterator[Mutant]:
    """The rules of partial.py, each time without another one, but for limits on the memory that it takes."""
    tree = ast.parse(Path(partial.__file__).read_text())
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name != "__init__":
            for node in _statements(function.body):
                for text, changed in _without_a_rule(node):
                    rule = f"{function.name}: {text}"
                    if "_REMEMBERED" in text or rule in _NOT_TO_BE_SHOWN:
                        continue
                    # Where a node stands is its identity in the copy.
                    copy = deepcopy(tree)
                    _Replace(node, changed).visit(copy)
                    yield Mutant(rule, _compiled(copy))


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements, but not those that say the reason of a condition."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.For):
            yield from _statements([inner for inner in node.body if not _gives_reason(inner)])


def _without_a_rule(node: ast.stmt) -> Iterator[tuple[str, list[ast.stmt]]]:
    """The ways to take a rule out of a statement, and what is left of it each time."""
    match node:
        case ast.If(test, body, orelse) if any(map(_gives_reason, body)):
            yield ast.unparse(test), orelse or [ast.Pass()]
            if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
                for text, changed in _operands(test):
                    yield text, [ast.If(changed, body, orelse)]
        case ast.If(test, [ast.Return(ast.Constant(None))]):
            yield f"{ast.unparse(test)}, or not", [ast.Return(ast.Constant(None))]
            if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
                for text, changed in _operands(test):
                    yield text, [ast.If(changed, node.body, node.orelse)]
        case ast.Return(ast.JoinedStr() | ast.Constant(str()) | ast.BinOp() | ast.Call()):
            yield ast.unparse(node), [ast.Return(ast.Constant(None))]
        case ast.Assign([ast.Name()], ast.BoolOp(ast.And()) as value):
            for text, changed in _operands(value):
                yield text, [ast.Assign(node.targets, changed)]
        case ast.Assign([ast.Attribute(_, "_changes_root")]):
            yield ast.unparse(node), [ast.Pass()]
        case ast.Expr(ast.Call(ast.Attribute(_, "full_pull" | "setdefault"))):
            yield ast.unparse(node), [ast.Pass()]


def _gives_reason(node: ast.stmt) -> bool:
    match node:
        case ast.Return(ast.JoinedStr() | ast.Constant(str()) | ast.Name("reason")):
            return True
        case ast.Assign([ast.Attribute(_, "_reason")]):
            return True
        case ast.Expr(ast.Call(ast.Attribute(_, "full_pull"))):
            return True
    return False


def _operands(value: ast.BoolOp) -> Iterator[tuple[str, ast.expr]]:
    for number, operand in enumerate(value.values):
        left = [*value.values[:number], *value.values[number + 1 :]]
        yield ast.unparse(operand), left[0] if len(left) == 1 else ast.BoolOp(value.op, left)


class _Replace(ast.NodeTransformer):
    def __init__(self, node: ast.stmt, changed: list[ast.stmt]) -> None:
        self._place = _place(node)
        self._changed = changed

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.stmt) and _place(node) == self._place:
            changed = self._changed
            return changed[0] if len(changed) == 1 else ast.If(ast.Constant(True), changed, [])
        return self.generic_visit(node)


def _place(node: ast.stmt) -> tuple[type, int, int]:
    return type(node), node.lineno, node.col_offset


def _compiled(tree: ast.Module) -> type[PartialPull]:
    # By the real module's name, under which dataclasses look up their types.
    names: dict[str, Any] = {"__name__": partial.__name__}
    exec(compile(ast.fix_missing_locations(tree), partial.__file__, "exec"), names)
    rules = names["PartialPull"]
    assert isinstance(rules, type)
    return rules
