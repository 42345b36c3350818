"""Values with something changed in them, as Helm would merge it over."""

from typing import Any

from harness.chart.rendering import Values


def merged(values: Values, over: Values) -> Values:
    """Return values with others over them: maps key by key, all else replaced."""
    result = dict(values)
    for key, content in over.items():
        below = result.get(key)
        if isinstance(content, dict) and isinstance(below, dict):
            result[key] = merged(below, content)
        else:
            result[key] = content
    return result


def with_value(values: Values, path: tuple[str, ...], content: Any) -> Values:
    """Return values with one of them set, or, where both are maps, merged over."""
    for key in reversed(path):
        content = {key: content}
    return merged(values, content)


def value_in(values: Values, path: tuple[str, ...], default: Any) -> Any:
    """Return the value at a path, or the default."""
    for key in path:
        if key not in values:
            return default
        values = values[key]
    return values
