"""The last routes and addresses on disk: what starts while the apiserver is away starts from them."""

import json
import logging
from dataclasses import astuple, dataclass
from pathlib import Path

from wardrobe_contracts.routes import OPS_PORT

from .source import Address

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Saved:
    """What is worth keeping."""

    routes: str | None = None
    addresses: frozenset[Address] = frozenset()


def load(path: Path) -> Saved:
    """What was kept; nothing where there is no file or it cannot be read."""
    try:
        content = json.loads(path.read_bytes())
        return Saved(content["routes"], frozenset(map(_address, content["addresses"])))
    except FileNotFoundError:
        return Saved()
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read: %s", path, error)
        return Saved()


def _address(kept: str | list[str]) -> Address:
    """Releases up to 0.1 kept one port of each pod."""
    if isinstance(kept, str):
        return Address(kept, f"{kept.rpartition(':')[0]}:{OPS_PORT}")
    return Address(*kept)


def store(path: Path, saved: Saved) -> None:
    """Keep it, whole or not at all. A disk that fails is no reason not to route."""
    partial = path.with_name(f"{path.name}.partial")
    addresses = [astuple(address) for address in sorted(saved.addresses)]
    try:
        partial.write_text(json.dumps({"routes": saved.routes, "addresses": addresses}))
        partial.replace(path)
    except OSError as error:
        log.warning("%s cannot be written: %s", path, error)
