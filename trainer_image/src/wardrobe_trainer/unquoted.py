"""An unforeseen exception for people: its kind and its place, and not its text, which may quote a row.

Libraries put the value that they stumble over into their messages; from there it would go into a condition, an event
and the pod's log.
"""

import traceback


def describe(error: BaseException) -> str:
    """One line. The texts of the operating system and of torch, which sees no text, are kept."""
    kind = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"{kind}: {error.strerror}" + (f": {error.filename}" if error.filename else "")
    places = [(frame.f_globals.get("__name__", "?"), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    module, line = places[-1] if places else ("?", 0)
    if f"{type(error).__module__}.".startswith("torch.") or f"{module}.".startswith("torch."):
        return f"{kind}: {error}"
    return f"{kind} in line {line} of {module}; its text is left out, as it may quote a row"


def traceback_of(error: BaseException) -> str:
    """Where it came from, with what led to it, for the pod's log."""
    return "\n".join(f"{''.join(traceback.format_tb(found.__traceback__))}{describe(found)}" for found in _chain(error))


def _chain(error: BaseException) -> list[BaseException]:
    """From the cause to the last. A chain may lead back to itself: `raise error from error` is allowed."""
    found: list[BaseException] = []
    before: BaseException | None = error
    while before is not None and not any(before is one for one in found):
        found.insert(0, before)
        before = before.__cause__ or before.__context__
    return found
