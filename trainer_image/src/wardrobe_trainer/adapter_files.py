"""The candidate's two files: whether they are as the order asked for them."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from wardrobe_contracts.manifest import ADAPTER_FILES
from wardrobe_models import adapter_files
from wardrobe_models.adapter_files import Adapter, AdapterFaultError, NotFiniteError, linear_features

from .candidate import TRAINED, Candidate


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


def validate(folder: Path, rank: int | None, candidate: Candidate = TRAINED) -> AdapterFacts:
    """Re-open an adapter and check every tensor; None is for a rank that nobody ordered.

    Raises TaskError (AdapterInvalid).
    """
    try:
        adapter = adapter_files.read(folder)
    except NotFiniteError as error:
        raise candidate.invalid(str(error), candidate.diverged) from error
    except AdapterFaultError as error:
        raise candidate.invalid(str(error)) from error
    if rank is not None and adapter.lora.r != rank:
        raise candidate.invalid(f"its r is {adapter.lora.r}, and {rank} was ordered")
    if not isinstance(adapter.lora.target_modules, set):
        raise candidate.invalid(f"its target_modules are no list: {adapter.lora.target_modules}")
    if not any(bool(b.any()) for _, b in adapter.matrices.values()):
        raise candidate.invalid("every B matrix is zero: the adapter changes nothing", candidate.unchanging)
    size = sum((folder / name).stat().st_size for name in ADAPTER_FILES)
    return AdapterFacts(adapter, sorted(adapter.lora.target_modules), size)


def require_fits(base: nn.Module, adapter: Adapter, candidate: Candidate = TRAINED) -> None:
    """The adapter must be whole and of this base. Raises TaskError."""
    try:
        adapter_files.require_fits(adapter, linear_features(base))
    except AdapterFaultError as error:
        raise candidate.invalid(str(error), candidate.other_base) from error
