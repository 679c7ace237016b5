"""vLLM's interface for adapters at run time, which the embedded engine speaks as well."""

import contextlib
import json
from pathlib import Path

from wardrobe_contracts.routes import EngineAdapterName

from . import EngineLacksError, StreamError
from .http import EngineHttp, understood


class LoraEndpoints:
    """What is the same of both engines. All raise as EngineHttp does."""

    lost = frozenset({404})

    def __init__(self, http: EngineHttp) -> None:
        self._http = http

    async def check(self) -> None:
        """Return when the engine is healthy."""
        await self._http.get("/health")

    def error_in(self, event: bytes) -> StreamError | None:
        """None: what it refuses it refuses by a status."""
        return None

    async def loaded(self) -> frozenset[EngineAdapterName]:
        """Names of all models but the base, which is the one without a parent."""
        answer = await self._http.get("/v1/models")
        with understood("/v1/models"):
            return frozenset(str(model["id"]) for model in json.loads(answer)["data"] if model.get("parent"))

    async def load(self, name: EngineAdapterName, folder: Path) -> None:
        """Give it an adapter. One that is there already is no error: names are never used for other bytes."""
        if name not in await self.loaded():
            await self._http.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})

    async def unload(self, name: EngineAdapterName) -> None:
        """Take an adapter away. Not by the list, where one that still has requests may be missing already."""
        with contextlib.suppress(EngineLacksError):
            await self._http.post("/v1/unload_lora_adapter", {"lora_name": name})
