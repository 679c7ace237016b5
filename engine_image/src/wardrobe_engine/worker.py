"""The thread that owns the model: takes orders between steps, admits waiting requests, decodes one token at a time."""

import contextlib
import logging
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import torch

from wardrobe_models.chat import Chat

from .adapter_files import AdapterWeights
from .adapters import Adapters
from .cache import Batch, Prefilled
from .errors import EngineError, GenerationError, StoppingError
from .generation import Event, Failed, Generation, PromptScores
from .lora import BASE_SLOT
from .metrics import Metrics
from .model import Model
from .prefill import take_in
from .sampling import choose
from .sequence import Sequence

PREFILL_TOKENS = 4096
"""Prompt tokens taken in between two decode steps, at least one request: running answers must not stall for long."""
LEFT_FREE = 0.25
"""Share of a batch's tokens that is for adapters without a row: long answers of one must not keep another waiting."""
IDLE_SECONDS = 0.5
"""How long an idle thread waits for orders before it shows that it is alive."""

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
    """Runs the model. Other threads may `submit`, and see `trouble`, `broken` and what `adapters` lists."""

    def __init__(
        self,
        model: Model,
        *,
        chat: Chat,
        max_batch: int,
        max_batch_tokens: int,
        stall_seconds: float,
        deliver: Deliver,
        metrics: Metrics,
    ) -> None:
        self.adapters = Adapters(model.remove)
        self._model, self._chat = model, chat
        self._max_batch, self._max_batch_tokens = max_batch, max_batch_tokens
        self._stall_seconds = stall_seconds
        self._deliver, self._metrics = deliver, metrics
        self._orders: queue.SimpleQueue[Generation | Load | Unload] = queue.SimpleQueue()
        self._waiting: deque[Sequence] = deque()
        self._newcomers: list[tuple[Sequence, Prefilled]] = []
        """Prefilled, and about to join the running."""
        self._running: list[Sequence] = []
        self._batch = Batch(model.device)
        self._events: list[tuple[Generation, Event]] = []
        self._beat = time.monotonic()
        self._failing: float | None = None
        """Since when every pass has failed."""
        self._dead = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        """Start the model's thread."""
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
        return self.broken() or (None if self._failing is None else "the last step failed")

    def broken(self) -> str | None:
        """Why only a new process will help, or None."""
        if self._dead:
            return "the model's thread has died"
        if (silent := time.monotonic() - self._beat) > self._stall_seconds:
            return f"the model's thread has not finished a step for {silent:.0f} s"
        if self._failing is not None and (failing := time.monotonic() - self._failing) > self._stall_seconds:
            return f"every step has failed for {failing:.0f} s"
        return None

    def _run(self) -> None:
        try:
            with torch.inference_mode():
                while not self._stopping:
                    self._turn()
        except Exception:
            log.exception("the model's thread has died")
            self._dead = True
            self._fail_orders_for_ever()

    def _turn(self) -> None:
        """One round: orders, newcomers, one token for everybody."""
        self._take_orders()
        self._drop_cancelled()
        self._admit()
        self._make_room()
        if self._running:
            self._step()
        elif self._failing is not None:
            self._try_again()
        self._flush()
        self._alive()

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
            adapter = self.adapters.hold(request.adapter)
        except EngineError as error:
            self._emit(request, Failed(error))
        else:
            self._waiting.append(Sequence(request, adapter, self._chat, self._model.device))

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
        for sequence in [one for one in self._waiting if one.request.cancelled]:
            self._waiting.remove(sequence)
            self.adapters.release(sequence.adapter)
        rows = [row for row, sequence in enumerate(self._running) if not sequence.request.cancelled]
        if len(rows) < len(self._running):
            self._keep(rows)

    def _admit(self) -> None:
        """Prefill waiting requests while there is room, and let them join the batch."""
        budget = PREFILL_TOKENS
        while self._waiting and budget > 0 and self._fits(candidate := self._next()):
            self._waiting.remove(candidate)
            budget -= candidate.length
            if prefilled := self._prefill(candidate):
                self._newcomers.append((candidate, prefilled))
        self._metrics.queue_size.set(len(self._waiting))
        if self._newcomers:
            self._join()

    def _rows(self) -> list[Sequence]:
        return [*self._running, *(sequence for sequence, _ in self._newcomers)]

    def _next(self) -> Sequence:
        """Who waits for the adapter with the fewest rows; among those, who came first."""
        rows = Counter(sequence.adapter for sequence in self._rows())
        return min(self._waiting, key=lambda one: rows[one.adapter])

    def _fits(self, newcomer: Sequence) -> bool:
        """Whether a request may be in the batch beside the others, with what is reserved for each to grow by."""
        rows = self._rows()
        if not rows:
            return True
        longest = max(row.reserved for row in (newcomer, *rows))
        tokens = self._room(shared=all(row.adapter is not newcomer.adapter for row in rows))
        return len(rows) < self._max_batch and (len(rows) + 1) * longest <= tokens

    def _room(self, *, shared: bool) -> float:
        """Tokens that a batch may have."""
        return self._max_batch_tokens * (1 if shared else 1 - LEFT_FREE)

    def _make_room(self) -> None:
        """Where not all rows may become longer, the longest wait for room, and then go on where they are."""
        while (rows := len(self._running)) > 1:
            longest = max(range(rows), key=lambda row: (self._running[row].length, row))
            running = {sequence.adapter for sequence in self._running}
            shared = len(running) > 1 or all(sequence.adapter in running for sequence in self._waiting)
            if rows * self._running[longest].length <= self._room(shared=shared):
                break
            self._waiting.extendleft(self._part([row for row in range(rows) if row != longest]))

    def _join(self) -> None:
        """Let newcomers into the batch. Where that fails, they fail alone."""
        try:
            self._batch.join([prefilled for _, prefilled in self._newcomers])
        except Exception as error:
            log.exception("%d requests could not join", len(self._newcomers))
            self._note_failure()
            for sequence, _ in self._newcomers:
                self._emit(sequence.request, Failed(GenerationError(f"the prompt failed: {error}")))
            removed = [sequence for sequence, _ in self._newcomers]
        else:
            self._running += [sequence for sequence, _ in self._newcomers]
            removed = []
        self._newcomers = []
        self._release(removed)

    def _prefill(self, sequence: Sequence) -> Prefilled | None:
        """Take in a prompt and give out the first token. None where that was all, or failed."""
        request, adapter, begins, ids = sequence.request, sequence.adapter, not sequence.answer, sequence.tokens
        if begins:
            self._metrics.queue_duration.observe(time.monotonic() - request.created)
        scored = request.score_prompt and begins
        try:
            with self._metrics.forward("prefill"):
                logits, scores, cache = take_in(self._model, ids, adapter.slot, self._alive, scored=scored)
                [token], [logprob] = choose(logits, [sequence.drawer])
        except Exception as error:
            log.exception("a prompt of %d tokens failed", len(ids))
            self._note_failure()
            self._emit(request, Failed(GenerationError(f"the prompt failed: {error}")))
            self.adapters.release(adapter)
            return None
        if scored:
            self._emit(request, PromptScores(scores))
        if begins:
            self._metrics.prompt_tokens.inc(len(ids))
        self._failing = None
        if self._take(sequence, token, logprob):
            self.adapters.release(adapter)
            return None
        return Prefilled(cache, len(ids), token, adapter.slot)

    def _step(self) -> None:
        """One token for every running request. Where that fails, all of them do."""
        try:
            with self._metrics.forward("decode"):
                logits = self._model.decode(self._batch)
                tokens, logprobs = choose(logits, [sequence.drawer for sequence in self._running])
            self._batch.advance(tokens)
            taken = zip(self._running, tokens, logprobs, strict=True)
            done = [self._take(sequence, token, logprob) for sequence, token, logprob in taken]
        except Exception as error:
            log.exception("a step of %d requests failed", len(self._running))
            self._fail_running(error)
            return
        self._failing = None
        self._keep([row for row, finished in enumerate(done) if not finished])

    def _take(self, sequence: Sequence, token: int, logprob: float) -> bool:
        """Give a request its token. Returns whether it is over."""
        self._metrics.generated_tokens.inc()
        try:
            event = sequence.take(token, logprob)
        except GenerationError as error:
            self._emit(sequence.request, Failed(error))
            return True
        self._emit(sequence.request, event)
        return event.end is not None

    def _keep(self, rows: list[int]) -> None:
        """Let go of all running requests but these. Where that fails, all of them do."""
        self._release(self._part(rows))

    def _part(self, rows: list[int]) -> list[Sequence]:
        """Take all running requests but these out of the batch, and say which; none where that fails, as all do."""
        try:
            self._batch.keep(rows)
        except Exception as error:
            log.exception("a step of %d requests failed", len(self._running))
            self._fail_running(error)
            return []
        kept = set(rows)
        removed = [sequence for row, sequence in enumerate(self._running) if row not in kept]
        self._running = [self._running[row] for row in rows]
        return removed

    def _fail_running(self, error: Exception) -> None:
        """Begin anew with an empty batch: what a failed step has done to this one nobody knows."""
        self._note_failure()
        for sequence in self._running:
            self._emit(sequence.request, Failed(GenerationError(f"a step failed: {error}")))
        removed, self._running, self._batch = self._running, [], Batch(self._model.device)
        self._release(removed)

    def _release(self, removed: list[Sequence]) -> None:
        self._metrics.batch_size.set(len(self._running))
        for sequence in removed:
            self.adapters.release(sequence.adapter)

    def _note_failure(self) -> None:
        if self._failing is None:
            self._failing = time.monotonic()

    def _alive(self) -> None:
        """A pass through the model is done."""
        self._beat = time.monotonic()

    def _try_again(self) -> None:
        """After a failed step and with nothing else to do: does the model still work?"""
        try:
            self._model.prefill([0], BASE_SLOT, every_position=False)
            self._failing = None
        except Exception:
            log.exception("the model still fails")

    def _fail_orders_for_ever(self) -> None:
        """Answer everything with an error: the process is to be restarted, until then nobody may wait for nothing."""
        error = StoppingError("the model's thread has died")
        running = [sequence.request for sequence in (*self._running, *(one for one, _ in self._newcomers))]
        for request in [*running, *(sequence.request for sequence in self._waiting)]:
            self._emit(request, Failed(error))
        while not self._stopping:
            self._flush()
            with contextlib.suppress(queue.Empty):
                self._fail_order(self._orders.get(timeout=IDLE_SECONDS), error)

    def _fail_order(self, order: Generation | Load | Unload, error: EngineError) -> None:
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
