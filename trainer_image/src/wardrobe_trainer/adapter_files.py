"""The candidate's two files: whether they are as the order asked for them."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from wardrobe_contracts.manifest import ADAPTER_FILES
from wardrobe_models import adapter_files
from wardrobe_models.adapter_files import Adapter, AdapterFaultError, NotFiniteError, linear_features

from .adapter_config import RETRAIN, invalid_adapter


@dataclass(frozen=True)
class AdapterFacts:
    """What a sane adapter is."""

    adapter: Adapter
    target_modules: list[str]
    size_bytes: int
    """Of both files."""

    @property
    def rank(self) -> int:
        """One for all modules."""
        return self.adapter.lora.r


def validate(folder: Path, rank: int) -> AdapterFacts:
    """Re-open an adapter and check every tensor. Raises TaskError (AdapterInvalid)."""
    try:
        adapter = adapter_files.read(folder)
    except NotFiniteError as error:
        raise invalid_adapter(str(error), "Lower spec.training.learningRate and train again") from error
    except AdapterFaultError as error:
        raise invalid_adapter(str(error), RETRAIN) from error
    if adapter.lora.r != rank:
        raise invalid_adapter(f"its r is {adapter.lora.r}, and {rank} was ordered", RETRAIN)
    if not isinstance(adapter.lora.target_modules, set):
        raise invalid_adapter(f"its target_modules are no list: {adapter.lora.target_modules}", RETRAIN)
    if not any(bool(b.any()) for _, b in adapter.matrices.values()):
        raise invalid_adapter("every B matrix is zero: the adapter changes nothing", RETRAIN)
    size = sum((folder / name).stat().st_size for name in ADAPTER_FILES)
    return AdapterFacts(adapter, sorted(adapter.lora.target_modules), size)


def require_fits(base: nn.Module, adapter: Adapter) -> None:
    """The adapter must be whole and of this base. Raises TaskError."""
    try:
        adapter_files.require_fits(adapter, linear_features(base))
    except AdapterFaultError as error:
        raise invalid_adapter(str(error), "Use the base that it was trained on") from error
