"""Which columns of a table are read."""

import re
from collections import Counter
from collections.abc import Sequence

from wardrobe_contracts.datasets import Columns

from ..layouts import CARRIED, COLUMNS, EITHER, layouts_in
from ..problems import TaskError, listed
from .line import malformed

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
"""What is surely a column's name. A CSV file without its first row begins with somebody's words."""


def chosen(names: Sequence[str], columns: Columns | None, source: str) -> list[str]:
    """Those that hold a row. Raises TaskError where one lacks, or where others would be ignored."""
    wanted = _by_themselves(names, source) if columns is None else _given(names, columns)
    if twice := [name for name in wanted if Counter(names)[name] > 1]:
        raise malformed(source, f"{len(twice)} of its columns are there twice", "Rename one of each", COLUMNS)
    return wanted


def _given(names: Sequence[str], columns: Columns) -> list[str]:
    for held, name in columns.given.items():
        if name not in names:
            rule = f"the file must have a column of this name; {_said(names)}"
            raise malformed(name, rule, "Correct the name", f"{COLUMNS}.{held}")
    return list(columns.given.values())


def _by_themselves(names: Sequence[str], source: str) -> list[str]:
    found = [layout for layout in layouts_in(names) if set(layout) <= set(names)]
    if len(found) != 1:
        raise _unnamed(f"the file must have a column messages, or prompt and completion, or text; {_said(names)}")
    [layout] = found
    if others := set(names) - set(layout) - CARRIED:
        rule = f"besides {' and '.join(layout)} a file has source and metadata at most; it has {len(others)} others"
        raise _unnamed(rule)
    return list(layout)


def _unnamed(rule: str) -> TaskError:
    hint = f"Name the columns to read ({EITHER}); then all others are left aside"
    return malformed("(not set)", rule, hint, COLUMNS)


def _said(names: Sequence[str]) -> str:
    plain = [name for name in names if _PLAIN_NAME.fullmatch(name)]
    others = len(names) - len(plain)
    more = f"{'and ' if plain else ''}{others} whose names are not plain" if others else ""
    return f"it has {' '.join(filter(None, [listed(plain), more]))}" if names else "it has none"
