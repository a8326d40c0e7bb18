"""What the sections are made of: cards, each chart with a table of all its numbers."""

from collections.abc import Container, Sequence
from typing import Final
from xml.etree.ElementTree import Element

from sidecar.terminal.html_report import charts
from sidecar.terminal.html_report.elements import Child, element
from sidecar.terminal.words import number

_MOST_BARS: Final = 12


def cards(*children: Element) -> Element:
    """Cards side by side where there is room."""
    return element("div", *children, class_="cards")


def card(title: str, *children: Child) -> Element:
    """A card without a chart."""
    return element("div", element("h3", title), *children, class_="card")


def none(sentence: str) -> Element:
    """Says that there is nothing to show."""
    return element("p", sentence, class_="none")


def bar_card(
    name: str, palette: str, title: str, counts: Sequence[tuple[str, int]], names: tuple[str, str]
) -> Element:
    """Counts as bars, the first ones where there are many."""
    shown = counts[:_MOST_BARS]
    note = f"The {len(shown)} most used of {number(len(counts))}." if len(shown) < len(counts) else None
    described = "; ".join(f"{label}: {number(count)}" for label, count in shown)
    return _figure(
        palette,
        title,
        note,
        None,
        charts.bars(f"chart-{name}", title, described, shown),
        table(names, [(label, number(count)) for label, count in counts], numbers=(1,)),
    )


def column_card(
    name: str,
    palette: str,
    title: str,
    note: str,
    labels: Sequence[str],
    series: Sequence[charts.Series],
    further: Sequence[charts.Series],
) -> Element:
    """Series over time as stacked columns. The legend has what is drawn; `further` is in the table only."""
    described = "; ".join(f"{part}: {number(sum(values))} in all" for part, values in series)
    legend = element(
        "ul",
        *(
            element("li", part, class_=f"color-{colour}")
            for colour, (part, values) in enumerate(series)
            if any(values)
        ),
        class_="legend",
        role="list",
    )
    parts = [*series, *further]
    rows = [
        (label, *(number(values[index]) for _, values in parts))
        for index, label in enumerate(labels)
        if any(values[index] for _, values in parts)
    ]
    return _figure(
        palette,
        title,
        note,
        legend,
        charts.columns(f"chart-{name}", title, described, labels, series),
        table(("From", *(part for part, _ in parts)), rows, numbers=range(1, len(parts) + 1)),
    )


def table(
    names: Sequence[str],
    rows: Sequence[Sequence[Child]],
    *,
    numbers: Container[int] = (),
) -> Element:
    """A table whose rows are named by their first cells."""

    def cell(tag: str, index: int, content: Child, scope: str | None) -> Element:
        return element(tag, content, scope=scope, class_="number" if index in numbers else None)

    head = element("tr", *(cell("th", index, name, "col") for index, name in enumerate(names)))
    body = (
        element(
            "tr",
            *(
                cell("td" if index else "th", index, content, None if index else "row")
                for index, content in enumerate(row)
            ),
        )
        for row in rows
    )
    return element(
        "table",
        element("thead", head),
        element("tbody", *body),
    )


def _figure(
    palette: str, title: str, note: str | None, legend: Element | None, chart: Element, numbers: Element
) -> Element:
    return element(
        "figure",
        element("figcaption", element("h3", title), element("p", note, class_="note") if note else None),
        legend,
        element("div", chart, class_="chart"),
        element("details", element("summary", "As a table"), _scrolling(title, numbers)),
        class_=f"card {palette}",
    )


def _scrolling(title: str, numbers: Element) -> Element:
    """For long numbers in a narrow window: what scrolls must be within reach of the keyboard, and named."""
    return element("div", numbers, class_="scroll", role="region", aria_label=f"{title}, table", tabindex=0)
