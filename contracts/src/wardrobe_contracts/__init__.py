"""Everything that crosses a process in Wardrobe, as pydantic models written to JSON in camelCase.

What is told as a whole is an `Exchanged`, with a format number; an `Order` is one that must be done, not only
understood. Their parts are `Record`s. Fields that a reader does not know are skipped in all of them.
"""
