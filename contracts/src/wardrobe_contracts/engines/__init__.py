"""Inference servers: what each offers, known once to operator and agent. Adding one: a member and a file of facts here,
its container in `operator/src/wardrobe/engines`, its requests in `gateway/src/wardrobe_gateway/engines`."""

from collections.abc import Mapping

from ..base import Variant
from . import tgi, transformers, vllm
from .facts import EngineFacts, EngineType, Loading, Request
from .tolerances import Precision, Tolerance

ENGINES: Mapping[EngineType, EngineFacts] = {
    EngineType.TRANSFORMERS: transformers.FACTS,
    EngineType.TGI: tgi.FACTS,
    EngineType.VLLM: vllm.FACTS,
}


def widest(variant: Variant) -> Tolerance:
    """What every engine that serves a variant keeps to: by this is said at publishing whether a proof is possible."""
    rows = [row for facts in ENGINES.values() for (of, _), row in facts.tolerances.items() if of is variant]
    return Tolerance(max(row.noise for row in rows), max(row.relative for row in rows), "the widest of all engines")


__all__ = ["ENGINES", "EngineFacts", "EngineType", "Loading", "Precision", "Request", "Tolerance", "widest"]
