"""This pod's copies of published adapters, each made in a thread of its own: a store that hangs keeps nothing else."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from wardrobe_contracts.base import Digest
from wardrobe_contracts.routes import EngineAdapterName, RoutedAdapter
from wardrobe_contracts.state import Reason, Verdict

from .fetch import Fetched, FetchError, Pace, Store, copy_of, fetch, forget, partial_of
from .outcomes import Failed
from .settings import Settings

T = TypeVar("T")

MOST_THREADS = 32
"""Beyond, the store hangs for all, and nothing is gained by one more."""


class Copies:
    """The cache of one agent."""

    def __init__(self, settings: Settings) -> None:
        self.under_way: dict[EngineAdapterName, float] = {}
        """Adapters that are being copied, and since when."""
        self.kept: dict[EngineAdapterName, Path] = {}
        """Of adapters that are dropped: until the engine does not list them any more."""
        self.untidy = True
        """Files may be there that nobody needs: of an earlier process, of a copy whose adapter left meanwhile."""
        self._settings = settings
        self._threads: dict[Path, threading.Thread] = {}
        """By the folder that they write."""

    def begin(self, name: EngineAdapterName) -> None:
        """One is about to be copied, beside everything else."""
        self.under_way[name] = time.monotonic()

    def end(self, name: EngineAdapterName) -> None:
        """Its copy is there, or is not."""
        del self.under_way[name]
        self.untidy = True

    async def fetch(self, adapter: RoutedAdapter, base: Digest) -> Fetched | Failed:
        """Copy and verify one; it fails where the store hangs, too."""
        store = Store(self._settings.store, self._settings.cache, base, self._settings.variant)
        folder, busy = copy_of(adapter, store.cache), self._written()
        if folder in busy or len(busy) >= MOST_THREADS:
            return _hangs("an earlier copy still waits for it")
        pace, stall = Pace(), self._settings.patience.stall
        future, self._threads[folder] = _in_thread(lambda: fetch(store, adapter, pace))
        try:
            while not future.done():
                if (still := time.monotonic() - pace.moved) >= stall:
                    return _hangs(f"it gave nothing for {stall:g} s")
                await asyncio.wait([future], timeout=stall - still)
            self._threads.pop(folder, None)  # it may not have ended yet, and writes no more
            return future.result()
        except FetchError as error:
            return Failed(error.verdict, error.reason, error.message)
        finally:
            future.cancel()
            pace.stop()

    def release(self, name: EngineAdapterName) -> None:
        """The engine does not have it any more."""
        self.kept.pop(name, None)
        self.untidy = True

    async def tidy(self, adapters: Iterable[RoutedAdapter]) -> None:
        """Remove files that no adapter, no engine and no copy under way needs. No copy may begin meanwhile."""
        self.untidy = False
        wanted = {copy_of(adapter, self._settings.cache) for adapter in adapters}
        folders = {*wanted, *self.kept.values(), *self._written(), self._settings.sets}
        keep = frozenset(folders | {partial_of(folder) for folder in folders})
        await asyncio.to_thread(forget, self._settings.cache, keep)

    def _written(self) -> frozenset[Path]:
        """What threads still write, given up or not."""
        self._threads = {folder: thread for folder, thread in self._threads.items() if thread.is_alive()}
        return frozenset(self._threads)


def _hangs(why: str) -> Failed:
    return Failed(Verdict.LOAD_FAILED, Reason.STORE_FAILED, f"the store does not answer: {why}")


def _in_thread(work: Callable[[], T]) -> tuple[asyncio.Future[T], threading.Thread]:
    """Work in a thread that ends with the process. Not asyncio's threads, which are few and are waited for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(setter: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            setter(value)

    def run() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  whatever it is, it is the caller's
                loop.call_soon_threadsafe(settle, future.set_exception, error)
            else:
                loop.call_soon_threadsafe(settle, future.set_result, result)

    thread = threading.Thread(target=run, daemon=True, name="fetch")
    thread.start()
    return future, thread
