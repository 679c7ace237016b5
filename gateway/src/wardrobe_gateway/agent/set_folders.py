"""The folders of sets for an engine that takes adapters when it starts, in this pod's cache."""

import logging
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from wardrobe_contracts.base import Digest
from wardrobe_contracts.engine_process import Start
from wardrobe_contracts.routes import BaseShape, EngineAdapterName

from .engine_set import Names
from .tgi import padding
from .tgi.padding import WrittenSet

log = logging.getLogger(__name__)


class SetFolders:
    """One folder a set, by its digest."""

    def __init__(self, folder: Path, shards: int) -> None:
        self.shards = shards
        """GPUs that an engine splits its weights over."""
        self._folder = folder
        self._members: dict[Digest, Names] = {}

    def names(self, start: Start | None) -> Names:
        """Members of what an engine was started with; none where that is nothing, or its folder is gone."""
        if start is None or start.engine_set is None:
            return frozenset()
        digest = start.engine_set
        if digest not in self._members:
            try:
                self._members[digest] = frozenset(padding.read_set(self._of(digest)).members)
            except (OSError, ValueError) as error:
                log.warning("the set %s cannot be read: %s", digest, error)
                self._members[digest] = frozenset()
        return self._members[digest]

    def start(self, made: WrittenSet) -> Start:
        """How an engine is started with a set that is written."""
        return Start(engine_set=made.digest, environment=padding.environment(self._of(made.digest), made))

    def write(
        self,
        made: WrittenSet,
        copies: Mapping[EngineAdapterName, Path],
        shape: BaseShape,
        needed: Collection[Digest | None],
    ) -> None:
        """Write a set's folder, after those that are not `needed` have made room. Blocks; one call at a time.

        Raises OSError, or UnfitError where a copy is not what it was.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        keep = {self._of(digest).name for digest in needed if digest is not None} | {self._of(made.digest).name}
        for path in self._folder.iterdir():
            if path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)
        padding.write_set(self._of(made.digest), made, copies, shape)
        self._members[made.digest] = frozenset(made.members)

    def _of(self, digest: Digest) -> Path:
        return self._folder / digest.removeprefix("sha256:")
