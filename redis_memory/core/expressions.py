"""Small expressions about the attributes of a conversation: `state == "archived" and turns > 3`."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from redis_memory.core.conflicts import MISSING

Attributes = Mapping[str, Any]
Predicate = Callable[[Attributes], object]

_LONGEST: Final = 1000
_DEEPEST: Final = 100
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda part, whole: part in whole,
    ast.NotIn: lambda part, whole: part not in whole,
}
_KINDS: dict[type[ast.expr], type[list[Any] | tuple[Any, ...] | set[Any]]] = {
    ast.List: list,
    ast.Tuple: tuple,
    ast.Set: set,
}
_FORMS = (
    "names of attributes, constants, `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `is`, "
    "`and`, `or`, `not`, "
    '`profile["tone"]`, `len(messages)` and `exists(state)`'
)


class Condition:
    """What a conversation must be like: a function of its attributes, or an expression.

    `names` are the attributes that it looks at, None where that is not known.
    """

    def __init__(self, given: str | Predicate) -> None:
        """Compile it; nothing is ever evaluated as Python.

        Raises:
            ValueError: It is no expression of the allowed form.
            TypeError: It is neither text nor a function.
        """
        self.names: Collection[str] | None = None
        if isinstance(given, str):
            tree = _parsed(given)
            self.names = set(_names(tree))
            self._test: Predicate = lambda attributes: _value(tree, attributes)
        elif callable(given):
            self._test = given
        else:
            raise TypeError(f"a condition is a function or a text, not {type(given).__name__}")
        self._is_function = callable(given)

    def __call__(self, attributes: Attributes) -> bool:
        """Whether it is so. What is missing, or cannot be compared, is not so."""
        if self._is_function:
            return bool(self._test(attributes))
        found = self._test(attributes)
        return found is not MISSING and bool(found)


def _names(tree: ast.expr) -> Iterator[str]:
    """The attributes that it looks at; one may be called `len`."""
    nodes = list(ast.walk(tree))
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return (node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in called)


def _is_deep(tree: ast.AST) -> bool:
    """Are there more levels than can be evaluated whoever calls?"""
    level, depth = [tree], 0
    while level and depth <= _DEEPEST:
        level, depth = [child for node in level for child in ast.iter_child_nodes(node)], depth + 1
    return bool(level)


def _parsed(text: str) -> ast.expr:
    if len(text) > _LONGEST:
        raise ValueError(f"a condition has at most {_LONGEST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"cannot understand the condition {text!r}") from error
    if _is_deep(tree):
        raise ValueError(f"a condition has at most {_DEEPEST} levels")
    for node in ast.walk(tree):
        if not _is_allowed(node):
            kind = type(node).__name__
            raise ValueError(f"a condition is made of {_FORMS}; {text!r} has a {kind}")
    return tree


def _is_allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return (
            isinstance(node.func, ast.Name)
            and node.func.id in ("len", "exists")
            and len(node.args) == 1
            and not node.keywords
            and (node.func.id == "len" or isinstance(node.args[0], ast.Name))
        )
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not | ast.USub)
    return isinstance(
        node,
        ast.Compare
        | ast.BoolOp
        | ast.boolop
        | ast.unaryop
        | ast.cmpop
        | ast.Name
        | ast.Load
        | ast.Constant
        | ast.List
        | ast.Tuple
        | ast.Set
        | ast.Subscript,
    )


def _value(  # noqa: C901, PLR0911 - one for each form
    node: ast.expr, attributes: Attributes
) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return attributes.get(node.id, MISSING)
        case ast.List() | ast.Tuple() | ast.Set():
            return _safely(_KINDS[type(node)], [_value(part, attributes) for part in node.elts])
        case ast.Subscript():
            return _item(_value(node.value, attributes), _value(node.slice, attributes))
        case ast.BoolOp():
            parts = (_truth(part, attributes) for part in node.values)
            return all(parts) if isinstance(node.op, ast.And) else any(parts)
        case ast.UnaryOp(op=ast.Not()):
            return not _truth(node.operand, attributes)
        case ast.UnaryOp():
            return _safely(operator.neg, _value(node.operand, attributes))
        case ast.Call(func=ast.Name(id="exists")):
            return _value(node.args[0], attributes) is not MISSING
        case ast.Call():
            return _safely(len, _value(node.args[0], attributes))
        case ast.Compare():
            return _compared(node, attributes)
    raise ValueError("no condition")


def _truth(node: ast.expr, attributes: Attributes) -> bool:
    value = _value(node, attributes)
    return value is not MISSING and bool(value)


def _compared(node: ast.Compare, attributes: Attributes) -> bool:
    left = _value(node.left, attributes)
    for compare, right_node in zip(node.ops, node.comparators, strict=True):
        right = _value(right_node, attributes)
        if left is MISSING or right is MISSING:
            return False
        found = _safely(_COMPARISONS[type(compare)], left, right)
        if found is MISSING or not found:
            return False
        left = right
    return True


def _item(whole: Any, key: Any) -> Any:
    return _safely(operator.getitem, whole, key)


def _safely(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function gives; `MISSING` for values that it does not fit."""
    if any(argument is MISSING for argument in arguments):
        return MISSING
    try:
        return function(*arguments)
    except (TypeError, LookupError, ValueError, ArithmeticError):
        return MISSING
