"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]  # heading -> what stands below it; a column whose heading ends in `:` is aligned to the right


def markdown(rows: Iterable[Row], empty: str = 'No run is recorded yet.\n') -> str:
    """A table in Markdown, or what to say where it has no row."""
    rows = list(rows)
    if not rows:
        return empty
    names = [heading.removesuffix(':') for heading in rows[0]]
    rule = ['---:' if heading.endswith(':') else '---' for heading in rows[0]]
    return ''.join(f'| {" | ".join(map(str, line))} |\n' for line in (names, rule, *(row.values() for row in rows)))
