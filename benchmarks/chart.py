"""The ratios of all rows that have a peer, as a bar chart in SVG for the README.

The axis is logarithmic, so that twice and half as fast have bars of one length. Text takes the
reader's colour scheme; the bars' colours differ without colour vision, too.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from xml.sax.saxutils import escape

from benchmarks.samples import Row, format_ratio

_WIDTH, _LABELS, _VALUES = 940, 400, 60
_ROW, _HEAD, _TITLE = 18, 28, 64
_AHEAD, _BEHIND = "#0072b2", "#d55e00"
_OURS = "dimse-ingestion"
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#24292f}.head{font-weight:600}"
    ".note{fill:#57606a}.line{stroke:#57606a}.grid{stroke:#d0d7de}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#9198a1}.grid{stroke:#3d444d}}"
)


def draw(rows: Sequence[Row], origin: str) -> str:
    """Return the chart; `origin` says when and where the figures were measured."""
    own = [row for row in rows if row.ratio is not None and row.system.startswith(_OURS)]
    span = _span([row.ratio for row in own if row.ratio is not None])
    groups = [(family, list(each)) for family, each in groupby(own, lambda row: row.family)]
    height = _TITLE + sum(_HEAD + _ROW * len(each) for _, each in groups) + 24
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>Operations a second, as a ratio to the peer's</title><style>{_STYLE}</style>",
        *_heading(origin),
        *_grid(span, height),
        *_groups(groups, span),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _span(ratios: Sequence[float]) -> float:
    """Return the power of two that the axis reaches in both directions."""
    return max([1, *(math.ceil(abs(math.log2(ratio))) for ratio in ratios)])


def _x(ratio: float, span: float) -> float:
    """Return where a ratio is on the axis."""
    half = (_WIDTH - _LABELS - _VALUES) / 2
    return _LABELS + half + half * math.log2(ratio) / span


def _heading(origin: str) -> Iterator[str]:
    yield _text(12, 20, "Operations a second, as a ratio to the peer's (1: even)", "head")
    yield _text(12, 38, origin, "note")


def _grid(span: float, height: int) -> Iterator[str]:
    step = max(1, math.ceil(span / 4))
    for power in range(-int(span) // step * step, int(span) + 1, step):
        if abs(power) > span:
            continue
        x = _x(2.0**power, span)
        label = f"{2**power}" if power >= 0 else f"1/{2**-power}"
        name = "line" if power == 0 else "grid"
        yield f'<line class="{name}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TITLE}" y2="{height - 8}"/>'
        yield _text(x, _TITLE - 6, label, "note", "middle")


def _groups(groups: Sequence[tuple[str, list[Row]]], span: float) -> Iterator[str]:
    y = _TITLE
    for family, rows in groups:
        y += _HEAD
        peers = " and ".join(dict.fromkeys(row.baseline for row in rows))
        yield _text(12, y - 8, f"{family[0].upper()}{family[1:]}, against {peers}", "head")
        for row in rows:
            yield from _bar(row, y, span)
            y += _ROW


def _bar(row: Row, y: int, span: float) -> Iterator[str]:
    ratio = row.ratio or 1.0
    even, end = _x(1.0, span), _x(ratio, span)
    left, width = min(even, end), max(abs(end - even), 1.0)
    colour = _AHEAD if ratio >= 1 else _BEHIND
    label = row.case + row.system.removeprefix(_OURS)
    yield _text(_LABELS - 8, y + 10, label, "case", "end")
    yield (
        f'<rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="{_ROW - 5}" fill="{colour}"/>'
    )
    yield _text(_WIDTH - 8, y + 10, format_ratio(ratio), "value", "end")


def _text(x: float, y: float, content: str, name: str, anchor: str = "start") -> str:
    return (
        f'<text class="{name}" x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(content)}</text>'
    )
