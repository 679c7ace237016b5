"""From S3 and what speaks its protocol.

The object is asked for by its ETag from the first answer on, so that what is put together is one object: a connection
that breaks is taken up where it ended, and an object that was replaced meanwhile begins anew.
"""

import os
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # boto3 ships no types
from botocore import UNSIGNED  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.exceptions import ConnectionError as NotConnectedError
from urllib3.exceptions import HTTPError

from wardrobe_contracts.remote import S3_CREDENTIALS, S3File
from wardrobe_trainer.console import say
from wardrobe_trainer.files import sync_folder
from wardrobe_trainer.problems import TaskError

from .faults import Asked

CHUNK = 2**18
FRUITLESS = 5
"""Times that an object is asked for without a byte more, before its server counts as one that does not answer."""
CHANGES = 3
REGION = "us-east-1"
"""What signatures name where nothing else is said; Amazon's servers say which one it is, others do not care."""


class _ChangedError(Exception):
    """The object is not the one that was begun."""


class _TooLargeError(Exception):
    """The object has more bytes than it may have."""


class _LengthUntoldError(Exception):
    """The server does not say where an answer ends."""


@dataclass(frozen=True)
class _Part:
    """What is there of an object, in a file beside the target; its ETag in another."""

    path: Path

    @property
    def etag(self) -> str | None:
        """Of the object that it is a part of."""
        try:
            return self._etag_file.read_text() or None
        except FileNotFoundError:
            return None

    @property
    def size(self) -> int:
        """In bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def begin(self, etag: str) -> None:
        """Nothing yet of another object."""
        self.forget()
        self._etag_file.write_text(etag)

    def forget(self) -> None:
        """Nothing of any."""
        self._etag_file.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def publish(self, target: Path) -> None:
        """It is whole."""
        self.path.touch()
        self.path.replace(target)
        sync_folder(target.parent)
        self._etag_file.unlink(missing_ok=True)

    @property
    def _etag_file(self) -> Path:
        return self.path.with_suffix(".etag")


def fetch(file: S3File, target: Path, asked: Asked) -> None:
    """Raises TaskError."""
    part = _Part(target.with_suffix(".part"))
    with closing(_client(file)) as client:
        _fetch_all(client, file, part, asked)
    part.publish(target)


def _fetch_all(client: Any, file: S3File, part: _Part, asked: Asked) -> None:
    """However often the connection breaks or the object changes, within bounds. Raises TaskError."""
    fruitless = changes = 0
    while True:
        had = part.size
        try:
            return _go_on(client, file, part, asked.most)
        except _TooLargeError:
            part.forget()
            raise asked.too_large() from None
        except _LengthUntoldError:
            rule = "it must say how long the object is: else half of it would pass for all"
            raise asked.unreachable(file.endpoint, rule) from None
        except _ChangedError:
            changes += 1
            part.forget()
            if changes == CHANGES:
                raise asked.changed() from None
            say("the object was replaced meanwhile; it is fetched anew")
        except (BotoCoreError, ClientError, HTTPError, OSError) as error:
            if (broke := _how_it_broke(error)) is None:
                if isinstance(error, ClientError):
                    raise _said(error, asked) from error
                raise
            fruitless = 0 if part.size > had else fruitless + 1
            if fruitless == FRUITLESS:
                raise asked.unreachable(file.endpoint, f"it must answer; there was {broke}") from error
            say(f"the connection broke at byte {part.size} ({broke}); it is taken up there")
            time.sleep(fruitless)


def exists(file: S3File) -> bool:
    """As far as the server says it; it is asked once."""
    with closing(_client(file)) as client:
        try:
            client.head_object(Bucket=file.bucket, Key=file.key)
        except (BotoCoreError, ClientError):
            return False
    return True


def _client(file: S3File) -> Any:
    """Never with what the node or the pod may have by itself: who may make a run may not borrow that."""
    signed = {} if _credentials_given() else {"signature_version": UNSIGNED}
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"total_max_attempts": 1},  # `fetch` has its own
        s3={"addressing_style": "path"} if file.endpoint else None,
        **signed,
    )
    key, secret = (os.environ.get(name) for name in S3_CREDENTIALS)
    return boto3.client(
        "s3",
        endpoint_url=file.endpoint,
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=config,
    )


def _credentials_given() -> bool:
    return all(os.environ.get(name) for name in S3_CREDENTIALS)


def _go_on(client: Any, file: S3File, part: _Part, most: int) -> None:
    """Append what lacks. Raises _ChangedError, _TooLargeError, _LengthUntoldError, or what boto3 raises."""
    answer = _rest(client, file, part)
    with closing(answer["Body"]) as body:
        whole = _take(answer, body, part, most)
    if whole is not None and part.size < whole:
        raise IncompleteReadError(actual_bytes=part.size, expected_bytes=whole)


def _take(answer: Mapping[str, Any], body: Any, part: _Part, most: int) -> int | None:
    """Append what an answer has of the object. Returns how many bytes the object has, where it says so."""
    begins, whole = _extent(answer)
    if begins > part.size or part.etag not in {None, answer["ETag"]}:
        raise _ChangedError
    if not part.etag:
        part.begin(answer["ETag"])
    if (whole or 0) > most:
        raise _TooLargeError
    with part.path.open("ab", buffering=0) as out:
        out.truncate(begins)
        left = most - begins
        for chunk in body.iter_chunks(CHUNK):
            if (left := left - len(chunk)) < 0:  # whatever the server has said
                raise _TooLargeError
            out.write(chunk)
        os.fsync(out.fileno())
    return whole


def _rest(client: Any, file: S3File, part: _Part) -> Mapping[str, Any]:
    """The answer with what lacks of the object, or with more: not every server heeds the range, or the ETag.

    The last byte is asked for again, as an object of which all is there has no rest that a server could give.
    """
    etag, had = part.etag, part.size
    wanted = {"IfMatch": etag} if etag else {}
    if etag and had:
        wanted["Range"] = f"bytes={had - 1}-"
    try:
        answer: Mapping[str, Any] = client.get_object(Bucket=file.bucket, Key=file.key, **wanted)
        return answer
    except ClientError as error:
        if _code(error) in {"InvalidRange", "PreconditionFailed"}:
            raise _ChangedError from error
        raise


def _extent(answer: Mapping[str, Any]) -> tuple[int, int | None]:
    """At which byte of the object an answer begins, and how many the object has: None where only the end tells.

    Raises _LengthUntoldError where not even that does, as an answer that breaks off looks whole then.
    """
    if told := answer.get("ContentRange"):  # bytes 5-9/10
        span, _, whole = str(told).rpartition(" ")[2].partition("/")
        return int(span.partition("-")[0]), int(whole) if whole.isdecimal() else None
    length: int | None = answer.get("ContentLength")
    headers: Mapping[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
    if length is None and "transfer-encoding" not in headers:
        raise _LengthUntoldError
    return 0, length


def _how_it_broke(error: Exception) -> str | None:
    """What may go away by itself, without the libraries' own words, which quote signed addresses; None for all else."""
    if isinstance(error, ClientError):
        return _code(error) if _status(error) >= 500 else None
    lost = (NotConnectedError, HTTPClientError, IncompleteReadError, HTTPError, ConnectionError, TimeoutError)
    return type(error).__name__ if isinstance(error, lost) else None


def _code(error: ClientError) -> str:
    found: Mapping[str, Any] = error.response.get("Error", {})
    return str(found.get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _said(error: ClientError, asked: Asked) -> TaskError:
    given, code = _credentials_given(), _code(error)
    match code:
        case "NoSuchBucket":
            return asked.not_found("there is no such bucket", "Correct its name, or the endpoint")
        case "NoSuchKey":
            return asked.not_found("there is no such key in the bucket", "Correct it, or copy the file there")
        case "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken":
            rule = f"the server must know the credentials; it says {code}"
            return asked.wrong_credentials(given, rule, "Write the right ones into the Secret")
    rule = f"the server must let the file be read; it says {code}"
    step = "Allow the credentials to get the object" if given else "Name a Secret with credentials that may read it"
    return asked.wrong_credentials(given, rule, step)
