"""Scores that stay in the store: what was measured on the same rows with the same programs is not measured again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from wardrobe_contracts.base import Digest, Fingerprint, Variant

from .comparison import Counts, Sums
from .console import say
from .files import write_durably

FORM = 1
"""Rises where what is written means something else."""


@dataclass(frozen=True)
class Kept:
    """The scores of one variant of one base on the same rows."""

    folder: Path | None
    """None where nothing is to be kept."""
    base: Fingerprint
    variant: Variant
    rows: str
    """Digest of all their tokens, and of which are scored."""
    programs: Mapping[str, str]
    """Versions and device, by which scores differ."""
    counts: Counts

    def read(self, adapter: Digest | None) -> Sums | None:
        """Of the base with an adapter, or alone; None where they are not there, or are damaged."""
        if self.folder is None:
            return None
        try:
            found = Sums.model_validate_json(self._path(self.folder, adapter).read_bytes())
        except (OSError, ValidationError):
            return None
        rows = len(self.counts.whole)
        return found if (len(found.whole), len(found.body)) == (rows, rows) else None

    def write(self, adapter: Digest | None, sums: Sums) -> None:
        """For the next. A store that takes none costs only that it is measured again."""
        if self.folder is None:
            return
        try:
            write_durably(self._path(self.folder, adapter), sums.model_dump_json(by_alias=True).encode())
        except OSError as error:
            say(f"scores are not kept: {error.strerror}")

    def _path(self, folder: Path, adapter: Digest | None) -> Path:
        facts = [FORM, self.base, self.variant, self.rows, dict(self.programs), adapter]
        name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return folder / f"{name}.json"
