"""What a reader made of a committed sample, against the sample."""

from typing import Any


def lacks(found: Any, wanted: Any, where: str = "") -> list[str]:
    """Places of `wanted` whose value `found` does not have."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [at for name in wanted for at in lacks(found.get(name), wanted[name], f"{where}.{name}")]
    if isinstance(wanted, list) and isinstance(found, list) and len(found) == len(wanted):
        return [
            at for index, pair in enumerate(zip(found, wanted, strict=True)) for at in lacks(*pair, f"{where}.{index}")
        ]
    return [] if found == wanted else [where]
