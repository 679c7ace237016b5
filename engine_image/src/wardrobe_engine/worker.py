"""The thread that owns the model: takes orders between steps, admits waiting requests, decodes one token at a time."""

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from .adapter_files import AdapterWeights
from .adapters import Adapters, Loaded
from .cache import Batch, Prefilled
from .errors import EngineError, GenerationError, StoppingError
from .generation import Event, Failed, Generation, PromptScores
from .lora import BASE_SLOT
from .metrics import Metrics
from .model import Model
from .sampling import choose, score
from .sequence import Sequence

PREFILL_TOKENS = 4096
"""Prompt tokens taken in between two decode steps, at least one request: running answers must not stall for long."""
IDLE_SECONDS = 0.5
"""How long an idle thread waits for orders before it shows that it is alive."""
STALL_SECONDS = 60.0
"""A step that takes longer counts as hung."""

log = logging.getLogger(__name__)

Deliver = Callable[[list[tuple[Generation, Event]]], None]
"""Called by the model's thread, at most once per step, with what happened since."""


@dataclass(frozen=True)
class Load:
    """Order to make an adapter available. The future gets an EngineError where that fails."""

    name: str
    weights: AdapterWeights
    done: "Future[None]"


@dataclass(frozen=True)
class Unload:
    """Order to drop an adapter: new requests are refused at once, running ones finish first."""

    name: str
    done: "Future[None]"


class Worker:
    """Runs the model. `submit`, `adapters.listed` and `trouble` are for other threads, all else is its own."""

    def __init__(
        self,
        model: Model,
        *,
        tokenizer: Tokenizer,
        eos: frozenset[int],
        max_batch: int,
        deliver: Deliver,
        metrics: Metrics,
    ) -> None:
        self.adapters = Adapters(model.remove)
        self._model, self._tokenizer, self._eos, self._max_batch = model, tokenizer, eos, max_batch
        self._specials = frozenset(id_ for id_, token in tokenizer.get_added_tokens_decoder().items() if token.special)
        self._deliver, self._metrics = deliver, metrics
        self._orders: queue.SimpleQueue[Generation | Load | Unload] = queue.SimpleQueue()
        self._waiting: deque[tuple[Generation, Loaded]] = deque()
        self._running: list[Sequence] = []
        self._batch = Batch(model.device)
        self._events: list[tuple[Generation, Event]] = []
        self._beat = time.monotonic()
        self._suspect = False
        self._dead = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, within: float) -> bool:
        """End the thread after its step; False where it has not ended after so many seconds."""
        self._stopping = True
        self._thread.join(within)
        return not self._thread.is_alive()

    def submit(self, order: Generation | Load | Unload) -> None:
        """Hand in an order, from any thread. Orders are taken in the order of their coming."""
        self._orders.put(order)

    def trouble(self) -> str | None:
        """Why the engine should not get requests, or None where it is well."""
        if self._dead:
            return "the model's thread has died"
        if (silent := time.monotonic() - self._beat) > STALL_SECONDS:
            return f"the model's thread has not finished a step for {silent:.0f} s"
        return "the last step failed" if self._suspect else None

    def _run(self) -> None:
        try:
            with torch.inference_mode():
                while not self._stopping:
                    self._turn()
        except Exception:
            log.exception("the model's thread has died")
            self._dead = True
            self._refuse_for_ever()

    def _turn(self) -> None:
        """One round: orders, newcomers, one token for everybody."""
        self._take_orders()
        self._drop_cancelled()
        self._admit()
        if self._running:
            self._step()
        elif self._suspect:
            self._try_again()
        self._flush()
        self._beat = time.monotonic()

    def _take_orders(self) -> None:
        """Take all orders there are; wait a little for one where there is nothing else to do."""
        idle = not (self._running or self._waiting)
        try:
            self._obey(self._orders.get(timeout=IDLE_SECONDS) if idle else self._orders.get_nowait())
            while True:
                self._obey(self._orders.get_nowait())
        except queue.Empty:
            return

    def _obey(self, order: Generation | Load | Unload) -> None:
        match order:
            case Generation():
                self._accept(order)
            case Load() | Unload() if not order.done.set_running_or_notify_cancel():
                pass
            case Load():
                self._load(order)
            case Unload():
                self._unload(order)

    def _accept(self, request: Generation) -> None:
        try:
            self._waiting.append((request, self.adapters.hold(request.adapter)))
        except EngineError as error:
            self._emit(request, Failed(error))

    def _load(self, order: Load) -> None:
        try:
            self.adapters.require_new(order.name)
            self.adapters.insert(order.name, order.weights, self._model.add(order.weights))
        except (EngineError, RuntimeError) as error:
            order.done.set_exception(error)
        else:
            order.done.set_result(None)

    def _unload(self, order: Unload) -> None:
        try:
            self.adapters.unload(order.name, order.done)
        except EngineError as error:
            order.done.set_exception(error)

    def _drop_cancelled(self) -> None:
        for request, adapter in [pair for pair in self._waiting if pair[0].cancelled]:
            self._waiting.remove((request, adapter))
            self.adapters.release(adapter)
        rows = [row for row, sequence in enumerate(self._running) if not sequence.request.cancelled]
        if len(rows) < len(self._running):
            self._keep(rows)

    def _admit(self) -> None:
        """Prefill waiting requests while there is room, and let them join the batch."""
        newcomers: list[tuple[Sequence, Prefilled]] = []
        budget = PREFILL_TOKENS
        while self._waiting and len(self._running) + len(newcomers) < self._max_batch and budget > 0:
            request, adapter = self._waiting.popleft()
            budget -= len(request.prompt)
            sequence = Sequence(request, adapter, self._tokenizer, self._specials, self._model.device)
            if prefilled := self._prefill(sequence):
                newcomers.append((sequence, prefilled))
        self._metrics.queue_size.set(len(self._waiting))
        if newcomers:
            self._batch.join([prefilled for _, prefilled in newcomers])
            self._running += [sequence for sequence, _ in newcomers]
            self._metrics.batch_size.set(len(self._running))

    def _prefill(self, sequence: Sequence) -> Prefilled | None:
        """Take in a prompt and give out the first token. None where that was all, or failed."""
        request, adapter = sequence.request, sequence.adapter
        self._metrics.queue_duration.observe(sequence.admitted - request.created)
        try:
            with self._metrics.forward("prefill"):
                logits, cache = self._model.prefill(request.prompt, adapter.slot, every_position=request.score_prompt)
                [token], [logprob] = choose(logits[-1:], [sequence.drawer])
            if request.score_prompt:
                self._emit(request, PromptScores(score(logits, request.prompt)))
        except Exception as error:
            log.exception("a prompt of %d tokens failed", len(request.prompt))
            self._suspect = True
            self._emit(request, Failed(GenerationError(f"the prompt failed: {error}")))
            self.adapters.release(adapter)
            return None
        self._suspect = False
        self._metrics.prompt_tokens.inc(len(request.prompt))
        if self._take(sequence, token, logprob):
            self.adapters.release(adapter)
            return None
        return Prefilled(cache, len(request.prompt), token, adapter.slot)

    def _step(self) -> None:
        """One token for every running request."""
        try:
            with self._metrics.forward("decode"):
                logits = self._model.decode(self._batch)
                tokens, logprobs = choose(logits, [sequence.drawer for sequence in self._running])
        except Exception as error:
            log.exception("a step of %d requests failed", len(self._running))
            self._suspect = True
            self._drop_running(GenerationError(f"a step failed: {error}"))
            return
        self._suspect = False
        self._batch.advance(tokens)
        taken = zip(self._running, tokens, logprobs, strict=True)
        done = [self._take(sequence, token, logprob) for sequence, token, logprob in taken]
        self._keep([row for row, finished in enumerate(done) if not finished])

    def _take(self, sequence: Sequence, token: int, logprob: float) -> bool:
        """Give a request its token. Returns whether it is over."""
        self._metrics.generated_tokens.inc()
        try:
            event = sequence.take(token, logprob, self._eos)
        except GenerationError as error:
            self._emit(sequence.request, Failed(error))
            return True
        self._emit(sequence.request, event)
        return event.end is not None

    def _keep(self, rows: list[int]) -> None:
        """Let go of all running requests but these."""
        kept = set(rows)
        for row, sequence in enumerate(self._running):
            if row not in kept:
                self.adapters.release(sequence.adapter)
        self._running = [self._running[row] for row in rows]
        self._batch.keep(rows)
        self._metrics.batch_size.set(len(rows))

    def _drop_running(self, error: EngineError) -> None:
        for sequence in self._running:
            self._emit(sequence.request, Failed(error))
        self._keep([])

    def _try_again(self) -> None:
        """After a failed step and with nothing else to do: does the model still work?"""
        try:
            self._model.prefill([0], BASE_SLOT, every_position=False)
            self._suspect = False
        except RuntimeError:
            log.exception("the model still fails")

    def _refuse_for_ever(self) -> None:
        """Answer everything with an error: the process is to be restarted, until then nobody may wait for nothing."""
        gone = StoppingError("the model's thread has died")
        for request in [*(sequence.request for sequence in self._running), *(request for request, _ in self._waiting)]:
            self._emit(request, Failed(gone))
        while not self._stopping:
            self._flush()
            with contextlib.suppress(queue.Empty):
                self._refuse(self._orders.get(timeout=IDLE_SECONDS), gone)

    def _refuse(self, order: Generation | Load | Unload, error: EngineError) -> None:
        if isinstance(order, Generation):
            self._emit(order, Failed(error))
        elif order.done.set_running_or_notify_cancel():
            order.done.set_exception(error)

    def _emit(self, request: Generation, event: Event) -> None:
        self._events.append((request, event))

    def _flush(self) -> None:
        if self._events:
            self._deliver(self._events)
            self._events = []
