"""Whether the engine's model still computes, however well the rest of the engine says that it is.

vLLM's /health looks only whether the process with the model has died (vllm/v1/engine/async_llm.py, check_health): while
that process stands still it answers 200 for ever. So the model is told by what comes of it, and where nothing
has come for a while it is asked for one token.
"""

import asyncio
import contextlib
import time

from ..engines import Engine, EngineBusyError, EngineDownError, EngineRejectedError, EngineSilentError
from .patience import Patience

QUESTION = "Hello"
AGAIN_SECONDS = 0.5
"""Until an engine is asked again that was full, or away."""


class Pulse:
    """Of one engine. One that is only busy gets on with something: an answer, a piece of one, or a step that it counts;
    so it is never taken for one that hangs, whatever its queue keeps waiting."""

    def __init__(self, engine: Engine, patience: Patience) -> None:
        self.beat_at = time.monotonic()
        """When the model was seen last to have computed."""
        self._engine = engine
        self._patience = patience
        self._asked_at = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._steps: frozenset[bytes] | None = None
        """As the engine counted them when it was last looked at."""

    @property
    def still_since(self) -> float | None:
        """Since when nothing has come of a model that owes a token; None where it owes none."""
        owes = self._asking is not None and not self._asking.done()
        return max(self._asked_at, self.beat_at) if owes else None

    def beat(self) -> None:
        """Something has come of the model."""
        self.beat_at = time.monotonic()

    async def require(self) -> None:
        """Look at an engine that says that it is healthy. Raises EngineSilentError where its model owes a token."""
        since = self.still_since
        still = time.monotonic() - (self.beat_at if since is None else since)
        if still < (self._patience.silent if since is None else self._patience.check) or await self._has_stepped():
            return
        if since is not None:
            raise EngineSilentError("it says that it is healthy, and a token that it was asked for does not come")
        self._asked_at, self._asking = time.monotonic(), asyncio.create_task(self._ask())

    def forget(self) -> None:
        """The engine is another process, or none: nothing is owed."""
        if self._asking is not None:
            self._asking.cancel()
        self._asking = None
        self.beat()

    async def _has_stepped(self) -> bool:
        """Whether the engine counts more than when it was last looked at."""
        before = self._steps
        with contextlib.suppress(EngineBusyError, EngineDownError, EngineRejectedError):
            self._steps = await self._engine.steps()
        if moved := before is not None and self._steps != before:
            self.beat()
        return moved

    async def _ask(self) -> None:
        """Until there is an answer. That it is full, or away, says nothing of the model."""
        while True:
            try:
                with contextlib.suppress(EngineRejectedError):  # which is an answer; what is wrong a proof will say
                    await self._engine.generate(None, QUESTION, 1)
                self._steps = None  # one of them was for this
                return self.beat()
            except (EngineBusyError, EngineDownError):
                await asyncio.sleep(AGAIN_SECONDS)
