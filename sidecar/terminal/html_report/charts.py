"""The charts: leather's scales, axes and bars as inline SVG, which the page's own style colours.

A chart scales with its card. Its width in units is that of a narrow window in pixels: there its type is as
large as the page's, and in a wider card somewhat larger.
"""

from collections.abc import Sequence
from typing import Any, Final
from xml.etree.ElementTree import Element

import leather  # type: ignore[import-untyped]
from leather import theme
from leather.shapes.base import Shape  # type: ignore[import-untyped]
from rich.cells import cell_len

from sidecar.terminal.html_report.elements import add, element
from sidecar.terminal.words import number, printable

Series = tuple[str, Sequence[int]]

_WIDTH: Final = 440
_COLUMNS_HEIGHT: Final = 230
_BAR_HEIGHT: Final = 26
_FONT_SIZE: Final = 13
_GAP: Final = 8
_INSET: Final = 2
_LONGEST_LABEL: Final = 200
_MOST_LABELS: Final = 6
_THINNEST: Final = 2
_LENGTHS: Final = ("x", "y", "width", "height", "x1", "x2", "y1", "y2")

# Leather takes its measures from its theme. The page has its own margins, headings and legends.
theme.margin = 0.0
theme.tick_font_char_height, theme.tick_font_char_width = _FONT_SIZE, 9


def bars(name: str, title: str, description: str, counts: Sequence[tuple[str, int]]) -> Element:
    """A bar for each count, the first on top, its number beside it."""
    labels = [_short(label) for label, _ in counts]
    numbers = [number(count) for _, count in counts]
    numbers_width = max(map(_text_width, numbers)) + 2 * _GAP
    height = _BAR_HEIGHT * len(counts) + theme.tick_font_char_height + 2 * theme.tick_size
    chart = leather.Chart()
    chart.add_series(leather.Series([(count, str(row)) for row, (_, count) in enumerate(counts)]), _Bars(counts))
    chart.set_x_scale(leather.Linear(0, max(count for _, count in counts)))
    chart.set_y_scale(leather.Ordinal([str(row) for row in reversed(range(len(counts)))]))
    chart.set_y_axis(_MeasuredAxis({str(row): label for row, label in enumerate(labels)}))
    chart.add_x_axis(ticks=[0], tick_formatter=lambda *_: "")
    drawn = chart.to_svg_group(_WIDTH - numbers_width, height)
    return _finished(drawn, "horizontal", (0, 0, _WIDTH, _BAR_HEIGHT * len(counts)), name, title, description)


def columns(name: str, title: str, description: str, labels: Sequence[str], series: Sequence[Series]) -> Element:
    """A stack of parts for each label, the first series at the bottom."""
    totals = [sum(values[index] for _, values in series) for index in range(len(labels))]
    every = -(-len(labels) // _MOST_LABELS)
    chart = leather.Chart()
    chart.add_series(
        leather.Series([(str(index), total) for index, total in enumerate(totals)]), _Stacks(labels, series)
    )
    chart.add_y_scale(0, max(totals))
    chart.add_x_axis(tick_formatter=lambda _value, index, _count: "" if index % every else labels[index])
    chart.add_y_axis(tick_formatter=lambda value, _index, _count: number(value) if value == int(value) else "")
    drawn = chart.to_svg_group(_WIDTH - 2 * _GAP, _COLUMNS_HEIGHT)
    frame = (0, -_GAP, _WIDTH, _COLUMNS_HEIGHT + 2 * _GAP)
    return _finished(drawn, "vertical", frame, name, title, description)


class _MeasuredAxis(leather.Axis):  # type: ignore[misc]
    """A left axis whose width follows the letters of its labels, not only their number."""

    def __init__(self, labels: dict[str, str]) -> None:
        super().__init__(tick_formatter=lambda value, *_: labels[value])
        self._width = max(map(_text_width, labels.values())) + _GAP

    def estimate_label_margin(self, _scale: object, _orient: str) -> float:
        return self._width


class _Bars(Shape):  # type: ignore[misc]
    """Bars with their numbers."""

    def __init__(self, counts: Sequence[tuple[str, int]]) -> None:
        self._counts = counts

    def validate_series(self, series: Any) -> None:
        """Ours always fit."""

    def to_svg(self, width: Any, height: Any, x_scale: Any, y_scale: Any, *_: Any) -> Element:
        group = element("g")
        for row, (label, count) in enumerate(self._counts):
            bottom, top = map(float, y_scale.project_interval(str(row), height, 0))
            end = float(x_scale.project(count, 0, width))
            if count:
                add(group, _mark(0, f"{label}: {number(count)}", 0, top + _INSET, end, bottom - top - 2 * _INSET))
            middle = (top + bottom) / 2
            add(group, element("text", number(count), class_="value", x=end + _GAP, y=middle, dy="0.32em"))
        return group


class _Stacks(Shape):  # type: ignore[misc]
    """Columns of several parts."""

    def __init__(self, labels: Sequence[str], series: Sequence[Series]) -> None:
        self._labels = labels
        self._series = series

    def validate_series(self, series: Any) -> None:
        """Ours always fit."""

    def to_svg(self, width: Any, height: Any, x_scale: Any, y_scale: Any, *_: Any) -> Element:
        group = element("g")
        for index, label in enumerate(self._labels):
            left, right = map(float, x_scale.project_interval(str(index), 0, width))
            below = 0
            for colour, (part, values) in enumerate(self._series):
                count = values[index]
                bottom, top = (float(y_scale.project(level, height, 0)) for level in (below, below + count))
                below += count
                if count:
                    words = f"{label}, {part}: {number(count)}"
                    add(group, _mark(colour, words, left, top, right - left, bottom - top))
        return group


def _mark(colour: int, words: str, x: float, y: float, width: float, height: float) -> Element:
    """A rectangle that can be seen, however small, and says what it stands for when pointed at."""
    size = {"width": max(_THINNEST, width), "height": max(_THINNEST, height)}
    return element("rect", element("title", words), class_=f"mark color-{colour}", x=x, y=y, **size)


def _finished(
    drawn: Element, kind: str, frame: tuple[float, float, float, float], name: str, title: str, description: str
) -> Element:
    """The chart as a picture that is named for those who hear it, without leather's ground and empty ticks."""
    drawn.remove(drawn[0])
    for axis in drawn.iterfind(".//g[@class]"):
        for tick in axis.findall("g"):
            if tick.findtext("text") == "":
                axis.remove(tick)
    for node in drawn.iter():
        for key in _LENGTHS:
            if (value := node.get(key)) is not None:
                node.set(key, f"{float(value):.5g}")
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-description"),
        drawn,
        class_=kind,
        viewBox=" ".join(f"{number:.5g}" for number in frame),
        role="img",
        aria_labelledby=f"{name}-title {name}-description",
    )


def _short(label: str) -> str:
    """The label, or as much of it as there is room for; the table has it whole."""
    label = printable(label)
    if _text_width(label) <= _LONGEST_LABEL:
        return label
    while _text_width(label) > _LONGEST_LABEL - _FONT_SIZE:
        label = label[:-1]
    return f"{label}…"


def _text_width(text: str) -> float:
    """About how wide a text is in the fonts of the page; rather too wide than too narrow."""
    return _FONT_SIZE * sum(
        1.1 if cell_len(char) > 1 or char in "mwMW@—" else 0.75 if char.isupper() else 0.62 for char in text
    )
