"""Which adapters an engine has memory for, of those that it should keep: `spec.engine.adapterMemory` is the bound."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from wardrobe import engines
from wardrobe.api.adapter import AdapterSpec
from wardrobe.api.adapterdeployment import AdapterDeploymentSpec
from wardrobe_contracts.base import AdapterName
from wardrobe_contracts.routes import BaseShape


@dataclass(frozen=True)
class Room:
    """What an engine has room for. Of an adapter that is gone, or a base that is not known, nothing is weighed."""

    spec: AdapterDeploymentSpec
    base: BaseShape | None
    adapters: Mapping[AdapterName, AdapterSpec]
    taken: frozenset[AdapterName] = frozenset()

    def holding(self, names: Iterable[AdapterName]) -> "Room":
        """With these in it, whatever they weigh."""
        return replace(self, taken=self.taken | set(names))

    def taking(self, names: Iterable[AdapterName]) -> "Room":
        """With those of these in it that fit, the first ones first. Mostly all do, which is weighed once."""
        wanted = list(names)
        if self.weight_with(*wanted) <= self.spec.engine.adapter_memory_bytes:
            return self.holding(wanted)
        room = self
        for name in wanted:
            if room.weight_with(name) <= self.spec.engine.adapter_memory_bytes:
                room = room.holding([name])
        return room

    def weight_with(self, *names: AdapterName) -> int:
        """Bytes that its adapters and these take together; with more of them it is never less."""
        weighed = [self.adapters[one] for one in sorted(self.taken.union(names)) if one in self.adapters]
        return engines.weight(self.spec, self.base, weighed) if self.base else 0

    def lacks(self, name: AdapterName) -> str:
        """Why an adapter is not in it, and what helps."""
        return (
            f"with Adapter {name}, adapters would take {self.weight_with(name) / 2**20:.0f} MiB of an engine, and "
            f"spec.engine.adapterMemory is {self.spec.engine.adapter_memory}. Write more there if the engine has it, "
            "serve fewer departments from one deployment, or train with a lower rank"
        )
