"""The real engine with faults that can be switched on, for drills: `python -m support.faulty_engine`, same options.

`POST /test/fault {"fault": "base" | "swap" | "decode-base" | "die" | "hang" | "none", "adapters": [...]}`:
- base: requests for these adapters (none named: for all) are answered by the base;
- swap: two adapters, each answers the other's requests;
- decode-base: the adapters are applied to prompts and lost in decode, as in TGI with CUDA graphs;
- die: the model's thread dies when an adapter is unloaded;
- hang: no step ends any more, until the process does;
- none: all is well again.

A prompt that holds the words of DEADLY ends the process at once, whatever the switch says.
"""

import os
import sys
import threading
from typing import Literal

import torch
from aiohttp import web
from transformers import DynamicCache

from wardrobe_engine import program
from wardrobe_engine.bodies import Body
from wardrobe_engine.cache import Batch
from wardrobe_engine.engine import Engine
from wardrobe_engine.errors import InvalidRequestError
from wardrobe_engine.lora import BASE_SLOT
from wardrobe_engine.model import Model
from wardrobe_engine.options import Options
from wardrobe_engine.server import application

DEADLY = "this prompt kills the engine"
"""As in on_the_node.py, which has no torch."""


class Fault(Body):
    """What is to go wrong."""

    fault: Literal["none", "base", "swap", "decode-base", "die", "hang"]
    adapters: tuple[str, ...] = ()


class FaultyModel(Model):
    """Uses another slot than it was asked to."""

    fault = Fault(fault="none")
    engine: Engine | None = None
    """None until it listens."""

    def prefill(
        self, ids: list[int], slot: int, *, every_position: bool, cache: DynamicCache | None = None
    ) -> tuple[torch.Tensor, DynamicCache]:
        if self.engine and DEADLY in self.engine.chat.backend.decode(ids):
            os._exit(1)
        return super().prefill(ids, self.wrong(slot, decoding=False), every_position=every_position, cache=cache)

    def decode(self, batch: Batch) -> torch.Tensor:
        if self.fault.fault == "hang":
            threading.Event().wait()
        asked = batch.slots
        batch.slots = [self.wrong(slot, decoding=True) for slot in asked]
        try:
            return super().decode(batch)
        finally:
            batch.slots = asked

    def remove(self, slot: int) -> None:
        if self.fault.fault == "die":
            raise RuntimeError("device lost")
        super().remove(slot)

    def wrong(self, slot: int, *, decoding: bool) -> int:
        """The slot that really answers."""
        if self.fault.fault == "none" or self.engine is None:
            return slot
        names = self.fault.adapters
        slots = {one.name: one.slot for one in self.engine.adapters() if one.name in names or not names}
        if slot == BASE_SLOT or slot not in slots.values():
            return slot
        match self.fault.fault:
            case "swap" if len(slots) == 2:
                return sum(slots.values()) - slot
            case "base":
                return BASE_SLOT
            case "decode-base" if decoding:
                return BASE_SLOT
        return slot


async def switch(request: web.Request) -> web.Response:
    """Set the fault of all requests from now on."""
    fault = Fault.parse(await request.read())
    if fault.fault == "swap" and len(fault.adapters) != 2:
        raise InvalidRequestError("a swap needs two adapters")
    FaultyModel.fault = fault
    return web.Response()


def faulty_application(engine: Engine) -> web.Application:
    """The engine's interface and the switch."""
    FaultyModel.engine = engine
    app = application(engine)
    app.router.add_post("/test/fault", switch)
    return app


if __name__ == "__main__":
    program.run(Options.parse(sys.argv[1:]), make_model=FaultyModel, make_application=faulty_application)
