"""Figures as SVG texts: any browser shows them, and MLflow among a run's artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

_CELL, _HEAD = 44, 24
_CHAR = 7  # pixels of a character at font size 12


def heat_map(matrix: NDArray[np.float64], names: Sequence[str], title: str, note: str) -> str:
    """Returns a square matrix as coloured cells: blue above zero, red below, white at zero.

    Args:
        matrix: (T, T); NaN is grey.
        names: Of rows and columns.
        title: First line.
        note: Line under the figure: what a row and a column stand for.
    """
    margin = 16 + _CHAR * max(len(name) for name in names)
    most = float(np.nanmax(np.abs(matrix))) if np.isfinite(matrix).any() else 0.0
    parts = []
    for i, name in enumerate(names):
        y = _HEAD + margin + i * _CELL
        parts.append(_text(margin - 6, y + _CELL / 2 + 4, name, "end"))
        x = margin + i * _CELL + _CELL / 2 + 4
        parts.append(_text(x, _HEAD + margin - 6, name, "start", turned=True))
        for j, value in enumerate(matrix[i]):
            left = margin + j * _CELL
            fill = _colour(value / most if most > 0 else value)
            parts.append(f'<rect x="{left}" y="{y}" width="{_CELL}" height="{_CELL}" '
                         f'fill="{fill}" stroke="#fff"/>')  # fmt: skip
            if np.isfinite(value):
                shown = f"{100 * value:+.1f}"
                parts.append(_text(left + _CELL / 2, y + _CELL / 2 + 4, shown, "middle"))
    side = margin + len(names) * _CELL + 16
    height = _HEAD + side + 20
    width = max(side, _CHAR * max(len(title), len(note)) + 24)
    parts.append(_text(8, 16, title, "start"))
    parts.append(_text(8, height - 8, f"{note} In hundredths of a score.", "start"))
    return _svg(width + 180, height, parts)


def _colour(share: float) -> str:
    """Returns the colour of a value between -1 and 1."""
    if not np.isfinite(share):
        return "#dddddd"
    full = np.array([33, 102, 172] if share >= 0 else [178, 24, 43])
    strength = 0.75 * min(abs(share), 1.0)  # dark text stays readable on the strongest
    red, green, blue = np.rint(255 + strength * (full - 255)).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _text(x: float, y: float, text: str, anchor: str, turned: bool = False) -> str:
    turn = f' transform="rotate(-90 {x:g} {y:g})"' if turned else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{turn}>{escape(text)}</text>'


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        'font-family="sans-serif" font-size="12">'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>\n"])
