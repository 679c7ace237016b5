"""From a Hugging Face Hub, by its own library: it compares sizes, and goes on where a connection broke."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
from huggingface_hub.utils.tqdm import tqdm

from wardrobe_contracts.remote import HUB_CREDENTIALS, HubFile
from wardrobe_trainer.files import sync_folder
from wardrobe_trainer.problems import TaskError

from .faults import Asked


class _TooLargeError(Exception):
    """The file has more bytes than it may have."""


def _received(most: int) -> type[tqdm]:
    """What the library tells its progress to: bytes that have come and are not written yet."""

    class Received(tqdm):
        def __init__(self, *, initial: int = 0, **_: Any) -> None:
            super().__init__(disable=True)  # type: ignore[no-untyped-call]  # the library leaves it so
            self.left: float = most - initial

        def update(self, n: float | None = 1) -> None:
            self.left -= n or 0
            if self.left < 0:
                raise _TooLargeError

    return Received


def fetch(file: HubFile, target: Path, asked: Asked) -> None:
    """Raises TaskError."""
    folder = target.with_suffix(".hub")
    options: dict[str, Any] = {
        "repo_type": "dataset",
        "revision": file.revision,
        "endpoint": file.endpoint,
        "token": _token() or False,  # never one that the image may have by itself
        "local_dir": folder,
    }
    try:
        with _online():
            if (hf_hub_download(file.repository, file.path, **options, dry_run=True).file_size or 0) > asked.most:
                raise _TooLargeError
            options["tqdm_class"] = _received(asked.most)  # a server need not say a size, nor keep to it
            found = hf_hub_download(file.repository, file.path, **options)
    except _TooLargeError:
        shutil.rmtree(folder, ignore_errors=True)
        raise asked.too_large() from None
    except (HfHubHTTPError, LocalEntryNotFoundError, HTTPError) as error:
        raise _said(_first(error), file, asked) from error
    Path(found).replace(target)
    sync_folder(target.parent)
    shutil.rmtree(folder)


@contextmanager
def _online() -> Iterator[None]:
    """For the block only: whatever else of our process loads by the hub's library is in files (`console.set_up`).

    By plain HTTP: a library of its own, to which the hub's leaves large files, can neither be stopped nor limited.
    """
    constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_XET = False, True
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


def _said(error: BaseException, file: HubFile, asked: Asked) -> TaskError:
    given = _token() is not None
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    match error:
        case RevisionNotFoundError():
            rule = "the dataset's repository has no such revision"
            return asked.not_found(rule, "Copy the full commit from its history")
        case RemoteEntryNotFoundError():
            return asked.not_found("the revision has no such file", "Correct the path")
        case GatedRepoError():
            rule = "the dataset is given only to who has agreed to its terms"
            return asked.wrong_credentials(given, rule, "Agree to them with the token's account")
        case RepositoryNotFoundError():  # a hub says the same of what is private
            rule = "there is no such dataset, or who asks may not see it"
            return asked.not_found(rule, f"Correct its owner and name, or see to {asked.credentials}")
    if status in {401, 403}:
        rule = f"the hub must let the file be read; it says {status}"
        return asked.wrong_credentials(
            given, rule, "Write the token of an account that may read the dataset into the Secret"
        )
    found = f"it says {status}" if status else f"there was {type(error).__name__}"
    return asked.unreachable(file.endpoint, f"the hub must answer; {found}")
