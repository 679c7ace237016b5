"""What the check's pod needs for each kind of source: a mount, or a way out and who asks there."""

from dataclasses import dataclass

from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.sources import ClaimSource, ConfigMapSource, parse_source
from wardrobe.manifests import volumes
from wardrobe.manifests.volumes import Mount
from wardrobe.plan.needs import Need
from wardrobe.stage.job import FromSecret
from wardrobe_contracts.remote import HUB_CREDENTIALS, S3_CREDENTIALS, RemoteFile, S3File

from .orders import CHECK_FOLDER

FIELD = "spec.dataset.source"
FETCHED = f"{CHECK_FOLDER}/fetched"
"""Beside what the check makes of it: a pod that follows goes on with what is there."""


@dataclass(frozen=True)
class Dataset:
    """Where the check finds the file, and by what means."""

    file: str
    needs: tuple[Need, ...] = ()
    mounts: tuple[Mount, ...] = ()
    fetch: RemoteFile | None = None
    credentials: FromSecret | None = None


def of(run: FineTuneJobResource) -> Dataset:
    """That of a run."""
    source = parse_source(run.spec.dataset.source, run.spec.dataset.endpoint)
    match source:
        case ConfigMapSource():
            return _mounted(source, Need.config_map(FIELD, source.name, source.key))
        case ClaimSource():
            return _mounted(source, Need.claim(FIELD, source.claim, "it holds the dataset"))
    names = S3_CREDENTIALS if isinstance(source, S3File) else HUB_CREDENTIALS
    given = run.spec.dataset.credentials
    return Dataset(
        FETCHED,
        fetch=source,
        credentials=FromSecret(given.secret_name, names) if given else None,
    )


def _mounted(source: ClaimSource | ConfigMapSource, need: Need) -> Dataset:
    return Dataset(volumes.dataset_file(source), (need,), (volumes.dataset(source),))
