"""Which engines there are, by the name that a deployment gives them."""

from collections.abc import Callable

import aiohttp

from wardrobe_contracts.engines import EngineType

from . import Engine
from .transformers import TransformersEngine

DIALECTS: dict[str, Callable[[aiohttp.ClientSession, str], Engine]] = {EngineType.TRANSFORMERS: TransformersEngine}
"""`spec.engine.type` to its dialect."""
