"""The engines that are measured, and how each is started for an agent."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from support import engine_servers, tgi

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import ENGINES, EngineType, Loading, Tolerance
from wardrobe_contracts.engines.tgi import ZERO_ADAPTER
from wardrobe_contracts.engines.vllm import BASE_NAME

VARIANT = Variant.NONE
"""Of the base: the only one that all of them serve."""
LABELS = {
    EngineType.TRANSFORMERS: "Transformers (the embedded engine)",
    EngineType.VLLM: "vLLM (the real one, on CPU)",
    EngineType.TGI: f"TGI (the real one, in {tgi.REAL})"
    if tgi.REAL
    else "TGI (the stand-in, whose speed is not TGI's)",
}
"""What was measured, for every line of figures."""
BASES = {
    EngineType.TRANSFORMERS: engine_servers.BASE_NAME,
    EngineType.VLLM: BASE_NAME,
    EngineType.TGI: ZERO_ADAPTER,
}
"""Whom a request for the base names."""


@dataclass(frozen=True)
class Subject:
    """One engine."""

    type: EngineType

    @property
    def label(self) -> str:
        """What it is."""
        return LABELS[self.type]

    @property
    def base(self) -> str:
        """Name of the base."""
        return BASES[self.type]

    @property
    def starts_with_adapters(self) -> bool:
        """Whether another set is another process."""
        return ENGINES[self.type].loading is Loading.AT_START

    @property
    def tolerance(self) -> Tolerance:
        """By what the agent judges its proofs."""
        facts = ENGINES[self.type]
        return facts.tolerance(VARIANT, facts.precision)

    def begun(self, folder: Path, control: Path) -> AbstractContextManager[str]:
        """The engine for an agent, which listens already where it takes adapters at run time; its URL."""
        match self.type:
            case EngineType.TRANSFORMERS:
                return engine_servers.transformers(folder)
            case EngineType.VLLM:
                return engine_servers.vllm(folder)
            case EngineType.TGI:
                return engine_servers.tgi_when_ordered(folder, control)
