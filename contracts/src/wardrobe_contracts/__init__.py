"""Everything that crosses a process in Wardrobe, as pydantic models written to JSON in camelCase.

Two bases: an `Order` is given to a program, which refuses fields it does not know (a setting must never be
ignored); a `Record` is written by a program, and a reader of another version skips what it does not know.
"""
