"""What was measured, as a table for people and as JSON for machines."""

from t2i_jax.measuring.figure import Figures


def text(parts: dict[str, Figures]) -> str:
    """One line a figure, below the name of its part: what, median, least to most of the repeats, unit."""
    rows = [(figure.what, number(figure.median), _spread(figure.repeats), figure.unit)
            for figures in parts.values() for figure in figures.values()]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for part, figures in parts.items():
        lines.append(part)
        for row in rows[: len(figures)]:
            what, median, spread, unit = (cell.ljust(width) for cell, width in zip(row, widths))
            lines.append(f"  {what}  {median.strip().rjust(widths[1])}  {spread}  {unit}".rstrip())
        rows = rows[len(figures):]
    return "\n".join(lines)


def record(parts: dict[str, Figures]) -> dict:
    """{part: {name: {"what", "unit", "median", "least", "most", "repeats"}}}."""
    return {
        part: {
            name: {"what": figure.what, "unit": figure.unit, "median": figure.median, "least": min(figure.repeats),
                   "most": max(figure.repeats), "repeats": list(figure.repeats)}
            for name, figure in figures.items()
        }
        for part, figures in parts.items()
    }


def number(value: float) -> str:
    """Three significant digits, thousands apart, nothing in powers of ten."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.01 or not value else f"{value:.5f}"


def _spread(repeats: tuple[float, ...]) -> str:
    return f"{number(min(repeats))} – {number(max(repeats))}" if len(repeats) > 1 else ""
