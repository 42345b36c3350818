"""PromQL evaluated over a few samples, as far as the chart's alerts use it.

`increase` and `rate` need two samples within their range, as Prometheus' do: a series that begins
within the range with a count has no increase by it. Extrapolation to the range's ends is left out,
so values are right in sign and size, not to the digit. What is not known here is refused.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import promql_parser

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
_LOOKBACK = 300.0
_NONE: Labels = frozenset()


@dataclass(frozen=True)
class Samples:
    """One series: a name, labels, and (seconds, value) in order."""

    name: str
    labels: Mapping[str, str]
    values: tuple[tuple[float, float], ...]


def evaluated(expression: str, series: list[Samples], at: float) -> Vector:
    """Return the instant vector that an expression is at a time. Raises NotImplementedError."""
    result = _value(promql_parser.parse(expression), series, at)
    return {_NONE: result} if isinstance(result, float) else result


def _value(node: Any, series: list[Samples], at: float) -> Vector | float:
    match node:
        case promql_parser.NumberLiteral():
            return float(node.val)
        case promql_parser.ParenExpr():
            return _value(node.expr, series, at)
        case promql_parser.VectorSelector():
            return _latest(node, series, at)
        case promql_parser.Call():
            return _called(node, series, at)
        case promql_parser.AggregateExpr():
            return _aggregated(node, _vector(node.expr, series, at))
        case promql_parser.BinaryExpr():
            return _combined(node, series, at)
    raise NotImplementedError(type(node).__name__)


def _vector(node: Any, series: list[Samples], at: float) -> Vector:
    result = _value(node, series, at)
    if isinstance(result, float):
        raise NotImplementedError("a number in place of a vector")
    return result


def _selected(node: Any, series: list[Samples]) -> list[Samples]:
    return [each for each in series if each.name == node.name and _matches(node, each)]


def _matches(node: Any, each: Samples) -> bool:
    return all(
        _OPERATORS[str(matcher.op)](each.labels.get(matcher.name, ""), matcher.value)
        for matcher in node.matchers.matchers
    )


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "MatchOp.Equal": lambda value, wanted: value == wanted,
    "MatchOp.NotEqual": lambda value, wanted: value != wanted,
    "MatchOp.Re": lambda value, wanted: re.fullmatch(wanted, value) is not None,
    "MatchOp.NotRe": lambda value, wanted: re.fullmatch(wanted, value) is None,
}


def _latest(node: Any, series: list[Samples], at: float) -> Vector:
    result: Vector = {}
    for each in _selected(node, series):
        seen = [value for when, value in each.values if at - _LOOKBACK < when <= at]
        if seen:
            result[frozenset({"__name__": each.name, **each.labels}.items())] = seen[-1]
    return result


def _called(node: Any, series: list[Samples], at: float) -> Vector | float:
    name, arguments = node.func.name, node.args
    if name == "time":
        return at
    if name == "vector":
        return {_NONE: float(arguments[0].val)}
    if name == "histogram_quantile":
        return _quantile(float(arguments[0].val), _vector(arguments[1], series, at))
    if name not in ("increase", "rate"):
        raise NotImplementedError(name)
    length = arguments[0].range.total_seconds()
    grown: Vector = {}
    for each in _selected(arguments[0].vector_selector, series):
        seen = [value for when, value in each.values if at - length < when <= at]
        if len(seen) > 1:
            steps = (
                after - before if after >= before else after for before, after in pairwise(seen)
            )
            grown[frozenset(each.labels.items())] = sum(steps) / (length if name == "rate" else 1)
    return grown


def _quantile(quantile: float, buckets: Vector) -> Vector:
    """Return the upper bound of the bucket that the quantile is in."""
    groups: dict[Labels, list[tuple[float, float]]] = defaultdict(list)
    for labels, count in buckets.items():
        bound = float(dict(labels)["le"])
        groups[frozenset(each for each in labels if each[0] != "le")].append((bound, count))
    result: Vector = {}
    for labels, counts in groups.items():
        counts.sort()
        if total := counts[-1][1]:
            result[labels] = next(bound for bound, count in counts if count >= quantile * total)
    return result


_FOLDS: dict[str, Callable[[list[float]], float]] = {"sum": sum, "count": len, "max": max}


def _aggregated(node: Any, vector: Vector) -> Vector:
    by = set(node.modifier.labels) if node.modifier else set()
    if node.modifier and str(node.modifier.type) != "AggModifierType.By":
        raise NotImplementedError(str(node.modifier.type))
    groups: dict[Labels, list[float]] = defaultdict(list)
    for labels, value in vector.items():
        groups[frozenset(each for each in labels if each[0] in by)].append(value)
    fold = _FOLDS[str(node.op)]
    return {labels: float(fold(values)) for labels, values in groups.items()}


def _combined(node: Any, series: list[Samples], at: float) -> Vector:
    left = _vector(node.lhs, series, at)
    operator = str(node.op)
    if operator == "or":
        right = _vector(node.rhs, series, at)
        return left | {labels: value for labels, value in right.items() if labels not in left}
    limit = _value(node.rhs, series, at)
    if not isinstance(limit, float):
        raise NotImplementedError("two vectors compared")
    holds: Callable[[float], bool] = {
        ">": lambda value: value > limit,
        "<": lambda value: value < limit,
        "==": lambda value: value == limit,
    }[operator]
    return {labels: value for labels, value in left.items() if holds(value)}
