"""Runs whose claim on a number still stands: what an operator that begins has to know of runs that have ended."""

import logging
from collections.abc import Sequence

from wardrobe.api import children
from wardrobe.api.meta import Manifest
from wardrobe.kube.client import Kube

from .lines import read_line

log = logging.getLogger(__name__)


async def standing(kube: Kube, namespaces: Sequence[str]) -> frozenset[str]:
    """uids of these runs, in some namespaces or (none given) in all. Raises UnavailableError."""
    lines = [found for name in namespaces or ("",) for found in await kube.list("ConfigMap", name, children.LINE_LABEL)]
    return frozenset(uid for found in lines for uid in _claims(found))


def _claims(manifest: Manifest) -> list[str]:
    try:
        return list(read_line("", manifest).claims)
    except (KeyError, ValueError) as error:  # its own runs say so, as soon as they want a number
        log.warning("ConfigMap %s is no record of a line: %s", manifest["metadata"]["name"], error)
        return []
