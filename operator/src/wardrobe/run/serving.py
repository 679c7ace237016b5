"""What answers on a run's base as its adapter is about to be measured: in which forms, and which of its line."""

from dataclasses import dataclass

from wardrobe.api.adapter import AdapterResource
from wardrobe_contracts import paths
from wardrobe_contracts.assessment import Incumbent
from wardrobe_contracts.base import Digest, Variant


@dataclass(frozen=True)
class Serving:
    """As the AdapterDeployments of the base say it."""

    variants: frozenset[Variant] = frozenset()
    incumbents: tuple[AdapterResource, ...] = ()
    """Of the run's line, whichever base files they are of."""

    def of(self, base: Digest) -> list[Incumbent]:
        """Those that can be measured on these files; each once, under its newest name."""
        mine = [found for found in self.incumbents if found.spec.base_model.digest == base]
        newest = {found.spec.digest: found for found in sorted(mine, key=lambda one: one.spec.version)}
        return [
            Incumbent(name=found.metadata.name, digest=digest, folder=f"{paths.STORE}/{found.spec.artifact.path}")
            for digest, found in newest.items()
        ]
