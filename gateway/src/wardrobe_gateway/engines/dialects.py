"""Which engines there are, by the name that a deployment gives them."""

from collections.abc import Callable

from wardrobe_contracts.engines import EngineType

from . import Engine
from .http import EngineHttp
from .transformers import TransformersEngine
from .vllm import VllmEngine


def _tgi(http: EngineHttp) -> Engine:
    from .tgi import TgiEngine  # noqa: PLC0415  its client takes 0.4 s and 22 MB that no other engine's agent needs

    return TgiEngine(http)


DIALECTS: dict[str, Callable[[EngineHttp], Engine]] = {
    EngineType.TRANSFORMERS: TransformersEngine,
    EngineType.TGI: _tgi,
    EngineType.VLLM: VllmEngine,
}
"""`spec.engine.type` to its dialect."""
