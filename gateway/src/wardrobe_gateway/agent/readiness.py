"""When an engine pod is Ready. Pure."""

from collections.abc import Iterable, Mapping

from wardrobe_contracts.state import Reason, Verdict

from .adapters import LocalAdapter


def has_opened(first: Iterable[str], adapters: Mapping[str, LocalAdapter], served: frozenset[str]) -> bool:
    """Whether this pod may become Ready: all of its first set are judged, and one is served.

    What waits for a restart is not waited for: the permit for that may wait until this pod is Ready.
    """
    judged = all(_is_judged(adapters[name]) for name in first if name in adapters)
    return judged and bool(served)


def _is_judged(local: LocalAdapter) -> bool:
    return local.verdict is not Verdict.PENDING or local.reason is Reason.AWAITING_RESTART


def is_ready(served: frozenset[str], routed: frozenset[str], *, opened: bool, engine_up: bool, draining: bool) -> bool:
    """Lost when no routed adapter is served, or the engine is down. Additions never take it away."""
    answers = bool(served & routed) if routed else bool(served)
    return opened and engine_up and not draining and answers
