"""What the check's pod needs for each kind of source: a mount, or a way out and who asks there."""

from dataclasses import dataclass

from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.sources import ClaimSource, ConfigMapSource, parse_source
from wardrobe.manifests import volumes
from wardrobe.manifests.volumes import Mount
from wardrobe.plan.needs import Need
from wardrobe.stage.job import FromSecret
from wardrobe_contracts import paths
from wardrobe_contracts.check import FETCHED_FILE
from wardrobe_contracts.remote import HUB_CREDENTIALS, S3_CREDENTIALS, RemoteFile, S3File

from .orders import CHECK_FOLDER

FIELD, VALIDATION_FIELD = "spec.dataset.source", "spec.dataset.validation.source"
FETCHED = f"{CHECK_FOLDER}/{FETCHED_FILE}"
VALIDATION_FETCHED = f"{FETCHED}-validation"
"""By their names; the check gives each pod a folder of its own for them."""


@dataclass(frozen=True)
class Dataset:
    """Where the check finds a file, and by what means."""

    source: str
    """As the person wrote it."""
    file: str
    needs: tuple[Need, ...] = ()
    mounts: tuple[Mount, ...] = ()
    fetch: RemoteFile | None = None
    credentials: FromSecret | None = None


def of(run: FineTuneJobResource) -> Dataset:
    """That of a run."""
    return _dataset(run, run.spec.dataset.source, FIELD, paths.DATASETS, FETCHED)


def validation_of(run: FineTuneJobResource) -> Dataset | None:
    """The held-out set of a run, where that is a file of its own."""
    source = run.spec.dataset.validation.source
    if source is None:
        return None
    return _dataset(run, source, VALIDATION_FIELD, paths.VALIDATION, VALIDATION_FETCHED)


def _dataset(run: FineTuneJobResource, text: str, field: str, folder: str, fetched: str) -> Dataset:
    source = parse_source(text, run.spec.dataset.endpoint)
    match source:
        case ConfigMapSource():
            need = Need.config_map(field, source.name, source.key)
        case ClaimSource():
            need = Need.claim(field, source.claim, "it holds the dataset")
        case _:
            names = S3_CREDENTIALS if isinstance(source, S3File) else HUB_CREDENTIALS
            given = run.spec.dataset.credentials
            credentials = FromSecret(given.secret_name, names) if given else None
            return Dataset(text, fetched, fetch=source, credentials=credentials)
    mount = volumes.dataset(source, folder)
    return Dataset(text, volumes.dataset_file(source, folder), (need,), (mount,))
