"""A file that a task fetches before it works on it: where it is, and which one of all that were ever there.

Credentials are no part of it: they are in the pod's environment, under the names that the servers' own tools use.
"""

from typing import Annotated, Literal

from pydantic import Field

from .base import Record


class S3File(Record):
    """An object of a bucket, as it is when the fetching begins. Without credentials it is asked for without a name."""

    scheme: Literal["s3"] = "s3"
    bucket: str
    key: str
    endpoint: str | None = None
    """The server's URL; None for Amazon's."""


class S3Folder(Record):
    """Objects of a bucket whose keys begin alike."""

    bucket: str
    prefix: str
    """Without the last slash."""
    endpoint: str | None = None

    def file(self, name: str) -> S3File:
        """One of them."""
        return S3File(bucket=self.bucket, key=f"{self.prefix}/{name}", endpoint=self.endpoint)


class HubFile(Record):
    """A file of a dataset's repository on a Hugging Face Hub, in one revision."""

    scheme: Literal["hf"] = "hf"
    repository: str
    """Its owner and name."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    path: str
    endpoint: str | None = None
    """The hub's URL; None for huggingface.co."""


MOST_BYTES = 32 << 30
"""Of a dataset that is fetched: it lies in the namespace's store while it is checked, beside what others keep there."""

S3_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
HUB_CREDENTIALS = ("HF_TOKEN",)
"""Names of environment variables, and of the entries of the Secret that they come from."""

RemoteFile = Annotated[S3File | HubFile, Field(discriminator="scheme")]
