"""From a Hugging Face Hub, by its own library: it compares sizes, and goes on where a connection or a pod ended."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from httpx2 import HTTPError
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from wardrobe_contracts.remote import HUB_CREDENTIALS, HubFile
from wardrobe_trainer.files import sync_folder
from wardrobe_trainer.problems import TaskError

from . import faults


def fetch(file: HubFile, target: Path, source: str) -> None:
    """Raises TaskError."""
    folder = target.with_suffix(".hub")
    try:
        with _online():
            found = hf_hub_download(
                file.repository,
                file.path,
                repo_type="dataset",
                revision=file.revision,
                endpoint=file.endpoint,
                token=_token() or False,  # never one that the image may have by itself
                local_dir=folder,
            )
    except (HfHubHTTPError, LocalEntryNotFoundError, HTTPError) as error:
        raise _said(_first(error), file, source) from error
    Path(found).replace(target)
    sync_folder(target.parent)
    shutil.rmtree(folder)


@contextmanager
def _online() -> Iterator[None]:
    """For the block only: whatever else of our process loads by the hub's library is in files (`console.set_up`)."""
    constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = True


def _token() -> str | None:
    (name,) = HUB_CREDENTIALS
    return os.environ.get(name)


def _first(error: Exception) -> BaseException:
    """What the hub said before the library looked for a copy of the file in its cache."""
    return error.__cause__ or error if isinstance(error, LocalEntryNotFoundError) else error


def _said(error: BaseException, file: HubFile, source: str) -> TaskError:
    given = _token() is not None
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    match error:
        case RevisionNotFoundError():
            rule = "the dataset's repository has no such revision"
            return faults.not_found(source, rule, "Copy the full commit from its history")
        case RemoteEntryNotFoundError():
            return faults.not_found(source, "the revision has no such file", "Correct the path")
        case GatedRepoError():
            rule = "the dataset is given only to who has agreed to its terms"
            return faults.refused(given, rule, "Agree to them with the token's account")
        case RepositoryNotFoundError():  # a hub says the same of what is private
            rule = "there is no such dataset, or who asks may not see it"
            return faults.not_found(source, rule, f"Correct its owner and name, or see to {faults.CREDENTIALS}")
    if status in {401, 403}:
        rule = f"the hub must let the file be read; it says {status}"
        return faults.refused(given, rule, "Write the token of an account that may read the dataset into the Secret")
    said = f"it says {status}" if status else f"there was {type(error).__name__}"
    return faults.unreachable(file.endpoint, f"the hub must answer; {said}")
