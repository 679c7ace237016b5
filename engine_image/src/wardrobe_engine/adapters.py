"""Which adapters are loaded, who uses them, and when a leaving one may go."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from .adapter_files import AdapterWeights
from .errors import BadAdapterError, StoppingError, UnknownAdapterError
from .lora import BASE_SLOT


@dataclass(eq=False)
class Loaded:
    """An adapter in the model."""

    name: str
    path: Path
    rank: int
    slot: int
    users: int = 0
    """Accepted requests that are not finished."""
    leaving: list["Future[None]"] = field(default_factory=list)
    """Who waits for it to be gone."""


class Adapters:
    """Adapters by name. Changed by the model's thread only; `listed` and `leaving` may be read by any."""

    def __init__(self, remove: Callable[[int], None]) -> None:
        self._remove = remove
        self._base = Loaded("", Path(), 0, BASE_SLOT)
        self._by_name: dict[str, Loaded] = {}
        self._leaving: list[Loaded] = []

    def listed(self) -> list[Loaded]:
        """All that new requests may name, in the order of loading."""
        return list(self._by_name.values())

    def hold(self, name: str | None) -> Loaded:
        """The adapter of a new request (None is the base), kept until `release`. Raises UnknownAdapterError."""
        adapter = self._base if name is None else self._find(name)
        adapter.users += 1
        return adapter

    def release(self, adapter: Loaded) -> None:
        """A request is done with its adapter."""
        adapter.users -= 1
        self._settle(adapter)

    def require_new(self, name: str) -> None:
        """Raises BadAdapterError where the name is taken."""
        if name in self._by_name:
            raise BadAdapterError(f"The lora adapter '{name}' has already been loaded.")

    def insert(self, name: str, weights: AdapterWeights, slot: int) -> None:
        """New requests may name it from now on."""
        self._by_name = {**self._by_name, name: Loaded(name, weights.path, weights.rank, slot)}

    def leaving(self) -> list[Loaded]:
        """Those that wait for their last request: no longer to be named, still in the model."""
        return list(self._leaving)

    def unload(self, name: str, unloaded: "Future[None]") -> None:
        """Refuse new requests for it, and set `unloaded` when its last one has finished. Raises UnknownAdapterError.

        Of one that is leaving already, `unloaded` is set when the others are.
        """
        last = next((adapter for adapter in reversed(self._leaving) if adapter.name == name), None)
        adapter = last if last and name not in self._by_name else self._find(name)
        self._by_name = {other: loaded for other, loaded in self._by_name.items() if other != name}
        if not adapter.leaving:
            self._leaving = [*self._leaving, adapter]
        adapter.leaving.append(unloaded)
        self._settle(adapter)

    def _find(self, name: str) -> Loaded:
        if name not in self._by_name:
            raise UnknownAdapterError(f"The lora adapter '{name}' is not loaded.")
        return self._by_name[name]

    def _settle(self, adapter: Loaded) -> None:
        if not adapter.leaving or adapter.users:
            return
        try:
            self._remove(adapter.slot)
        except Exception as error:
            for future in adapter.leaving:
                future.set_exception(StoppingError(f"'{adapter.name}' could not be taken out of the model: {error}"))
            raise
        self._leaving = [other for other in self._leaving if other is not adapter]
        for future in adapter.leaving:
            future.set_result(None)
        adapter.leaving.clear()
