"""What a figure is: measured, held against a floor of the same run, and what is wanted of it."""

from msgspec import Struct


class Figure(Struct, frozen=True, kw_only=True):
    """One row of the table. `measured` and `floor` are texts with units; `ratio` is between the two."""

    name: str
    measured: str
    floor: str = ""
    ratio: float | None = None
    wanted: str = ""
    met: bool | None = None


def at_most(name: str, value: float, bound: float, unit: str = "", digits: int = 0) -> Figure:
    """A figure with an upper bound of its own."""
    return Figure(
        name=name,
        measured=f"{value:.{digits}f} {unit}".strip(),
        wanted=f"≤ {bound:g} {unit}".strip(),
        met=value <= bound,
    )


def against(name: str, value: str, floor: str, ratio: float, *, least: float = 0, most: float = 0) -> Figure:
    """A ratio against a floor; `least` or `most` bounds it."""
    return Figure(
        name=name,
        measured=value,
        floor=floor,
        ratio=round(ratio, 3),
        wanted=f"≥ {least:g}" if least else f"≤ {most:g}",
        met=ratio >= least if least else ratio <= most,
    )


def percentile(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, -(-int(share * 1000) * len(ordered) // 1000) - 1))]
