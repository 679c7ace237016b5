"""The candidate's configuration, in a form without accidents of a machine. Needs no torch."""

import json
from pathlib import Path
from typing import Any

from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE

from .candidate import TRAINED, Candidate

_SETS = ("target_modules", "exclude_modules")
"""Fields that PEFT holds as sets and writes in the order of their hashes."""


def read_config(folder: Path, candidate: Candidate = TRAINED) -> dict[str, Any]:
    """As it stands in the file; what it means is looked at where the weights are. Raises TaskError (AdapterInvalid)."""
    if not (folder / ADAPTER_WEIGHTS_FILE).is_file():
        raise candidate.invalid(f"{folder / ADAPTER_WEIGHTS_FILE} is missing")
    try:
        config = json.loads((folder / ADAPTER_CONFIG_FILE).read_bytes())
    except (FileNotFoundError, ValueError) as error:
        raise candidate.invalid(f"{folder / ADAPTER_CONFIG_FILE} is missing or is no JSON") from error
    if not isinstance(config, dict):
        raise candidate.invalid(f"{ADAPTER_CONFIG_FILE} is no object")
    return config


def normalised_config(config: dict[str, Any], base_name: str) -> bytes:
    """adapter_config.json in the form that is published: the same adapter gives the same bytes on every machine.

    PEFT writes the path the base was loaded from, sets in the order of their hashes, and how it was loaded. The base
    goes by the name of its BaseModel.
    """
    settled = {
        **config,
        "base_model_name_or_path": base_name,
        "revision": None,
        "auto_mapping": None,
        "inference_mode": True,
    }
    sets = {name: sorted(settled[name]) for name in _SETS if isinstance(settled.get(name), list)}
    return (json.dumps({**settled, **sets}, indent=2, sort_keys=True) + "\n").encode()
