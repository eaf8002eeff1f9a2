"""Named subsets of a sample: boolean expressions on its columns."""

from __future__ import annotations

import ast

import numpy as np

from skyloom.errors import InputError

_ALLOWED = (ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, ast.Lt, ast.LtE, ast.Gt,
            ast.GtE, ast.Eq, ast.NotEq, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Name, ast.Load, ast.Constant)


def select(name: str, expression: str, columns: dict[str, np.ndarray]) -> np.ndarray:
    """(n,) bool: rows for which an expression like `ps1_r_mag < 17.77 and not (unwise_w1_detected == 0)` holds.

    Comparisons, and, or, not, + - * / and numbers or strings; a comparison with NaN doesn't hold. InputError names the
    subset for anything else and for unknown columns.
    """
    place = f"`evaluation.subsets.{name}`"
    try:
        tree = ast.parse(expression, mode="eval")
    except SyntaxError as error:
        raise InputError(f"{place} is {expression!r}, which is no expression ({error.msg}); "
                         "write e.g. ps1_r_mag < 17.77") from None
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise InputError(f"{place} holds {type(node).__name__}; only comparisons, and, or, not, + - * / are allowed")
        if isinstance(node, ast.Name) and node.id not in columns:
            raise InputError(f"{place} names {node.id}, which is no column of the testing file; "
                             f"known: {', '.join(sorted(columns))[:400]}")
    with np.errstate(invalid="ignore", divide="ignore"):
        try:
            found = _value(tree.body, columns)
        except (TypeError, np.exceptions.DTypePromotionError) as error:
            raise InputError(f"{place} can't be computed ({error}); compare numbers with numbers") from None
    size = len(next(iter(columns.values())))
    if not np.issubdtype(np.asarray(found).dtype, np.bool_):
        raise InputError(f"{place} is {expression!r}, which is no condition; compare something")
    return np.broadcast_to(found, size)


def masks(expressions: dict[str, str], columns: dict[str, np.ndarray], rows: np.ndarray, asked=()) -> dict[str, np.ndarray]:
    """{name: (m,) bool} of the subsets that hold for any of the given rows; InputError for one of `asked` that doesn't."""
    out = {name: select(name, text, columns)[rows] for name, text in expressions.items()}
    for name, chosen in out.items():
        if not chosen.any() and name in asked:
            raise InputError(f"`evaluation.subsets.{name}` holds for no testing object; loosen it or leave it out")
    return {name: chosen for name, chosen in out.items() if chosen.any()}


def binned(bins: dict[str, list[float]]) -> dict[str, str]:
    """{`expression [low, high)`: condition} of every bin of {expression: edges}, as `select` reads it."""
    return {f"{text} [{low:g}, {high:g})": f"({text}) >= {low} and ({text}) < {high}"
            for text, edges in bins.items() for low, high in zip(edges[:-1], edges[1:], strict=True)}


def _value(node, columns):
    if isinstance(node, ast.BoolOp):
        parts = [np.asarray(_value(part, columns), bool) for part in node.values]
        return np.logical_and.reduce(np.broadcast_arrays(*parts)) if isinstance(node.op, ast.And) else (
            np.logical_or.reduce(np.broadcast_arrays(*parts)))
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, columns)
        return ~np.asarray(inner, bool) if isinstance(node.op, ast.Not) else -np.asarray(inner)
    if isinstance(node, ast.Compare):
        left, out = _value(node.left, columns), True
        for operator, right in zip(node.ops, (_value(part, columns) for part in node.comparators), strict=True):
            out = out & np.asarray(_COMPARE[type(operator)](left, right))
            left = right
        return out
    if isinstance(node, ast.BinOp):
        return _ARITHMETIC[type(node.op)](_value(node.left, columns), _value(node.right, columns))
    return columns[node.id] if isinstance(node, ast.Name) else node.value


def _value_there(value):
    """Where something stands: NaN and None are no value, and not unequal to any."""
    return np.equal(value, value) & np.not_equal(value, None) if np.ndim(value) else value == value


_COMPARE = {ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal, ast.Eq: np.equal,
            ast.NotEq: lambda a, b: np.not_equal(a, b) & _value_there(a) & _value_there(b)}
_ARITHMETIC = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide}
