"""An adapter's two files, read and checked whole before anything of the running model is touched."""

from dataclasses import dataclass
from pathlib import Path

import torch

from wardrobe_models import adapter_files
from wardrobe_models.adapter_files import Adapter, AdapterFaultError, AdapterMissingError, Features

from .errors import AdapterFilesMissingError, BadAdapterError


@dataclass(frozen=True)
class AdapterWeights:
    """A checked adapter on CPU."""

    path: Path
    rank: int
    matrices: dict[str, tuple[torch.Tensor, torch.Tensor]]
    """Module to A (rank, inputs) and B (outputs, rank), both float32, B multiplied by the adapter's scale."""


def read(folder: Path, base_names: tuple[str, ...], features: Features) -> AdapterWeights:
    """Read and check an adapter for a base that goes by `base_names`.

    Raises AdapterFilesMissingError where there is none, BadAdapterError where it cannot be served on this base.
    """
    try:
        adapter = adapter_files.read(folder)
        adapter_files.require_fits(adapter, features)
    except AdapterMissingError as error:
        raise AdapterFilesMissingError(str(error)) from error
    except AdapterFaultError as error:
        raise BadAdapterError(str(error)) from error
    base = adapter.lora.base_model_name_or_path
    if base and base not in base_names:
        raise BadAdapterError(f"it was trained on the base {base!r}, this engine serves {base_names[0]!r}")
    return _scaled(folder, adapter)


def _scaled(folder: Path, adapter: Adapter) -> AdapterWeights:
    lora = adapter.lora
    scale = lora.lora_alpha / (lora.r**0.5 if lora.use_rslora else lora.r)
    matrices = {module: (a.float(), b.float() * scale) for module, (a, b) in adapter.matrices.items()}
    for module, pair in matrices.items():
        if not all(bool(torch.isfinite(matrix).all()) for matrix in pair):
            raise BadAdapterError(f"the weights of {module}, times alpha / rank = {scale:g}, do not fit float32")
    return AdapterWeights(folder, lora.r, matrices)
