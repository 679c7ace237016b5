"""What the import's pod needs for each kind of source: a mount, or a way out and who asks there."""

from dataclasses import dataclass

from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.sources import ClaimSource, parse_adapter_source
from wardrobe.manifests import volumes
from wardrobe.manifests.volumes import Mount
from wardrobe.plan.needs import Need
from wardrobe.stage.job import FromSecret
from wardrobe_contracts import paths
from wardrobe_contracts.check import FETCHED_FILE
from wardrobe_contracts.remote import S3_CREDENTIALS, S3Folder

from .orders import IMPORT_FOLDER

FIELD = "spec.adapter.source"
FETCHED = f"{IMPORT_FOLDER}/{FETCHED_FILE}"
"""As the order names it; the import itself gives each pod a folder of its own."""


@dataclass(frozen=True)
class Adapter:
    """Where the import finds the files, and by what means."""

    folder: str
    needs: tuple[Need, ...] = ()
    mounts: tuple[Mount, ...] = ()
    fetch: S3Folder | None = None
    credentials: FromSecret | None = None


def of(run: FineTuneJobResource) -> Adapter:
    """That of a run of method Import."""
    given = run.spec.brought_in
    source = parse_adapter_source(given.source, given.endpoint)
    if isinstance(source, ClaimSource):
        need = Need.claim(FIELD, source.claim, "it holds the adapter")
        return Adapter(f"{paths.ADAPTERS}/{source.path}", (need,), (volumes.adapters(source),))
    who = FromSecret(given.credentials.secret_name, S3_CREDENTIALS) if given.credentials else None
    return Adapter(FETCHED, fetch=source, credentials=who)
