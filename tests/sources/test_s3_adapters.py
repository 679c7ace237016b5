"""An adapter in S3, fetched by the trainer's own program from a real server, and what is said where it is not there."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import lora_files, s3_server
from support.fetching import NOBODY, failure
from support.real_engines import MODEL, python
from support.s3_server import BUCKET, KNOWN, SECRET, Bucket, Line
from support.waiting import HANG, eventually

from wardrobe_contracts.base import BaseLocation
from wardrobe_contracts.base_files import base_files
from wardrobe_contracts.digests import fingerprint, of_files, sha256, sha256_file
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.imports import ImportConfig, Imported
from wardrobe_contracts.manifest import ADAPTER_FILES, ADAPTER_WEIGHTS_FILE, BaseReference
from wardrobe_contracts.paths import POD_UID_VARIABLE
from wardrobe_contracts.remote import S3_CREDENTIALS, S3Folder
from wardrobe_contracts.result import RESULT_FILE, Result

pytestmark = pytest.mark.sources

PREFIX = "adapters/renal"
SOURCE = f"s3://{BUCKET}/{PREFIX}"
DIGEST = sha256(b"a base")
RANK = 64
"""Its weights have some MB: more than what is read at once."""


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with s3_server.serving(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the example's base."""
    base = lora_files.base_shape(MODEL)
    return lora_files.write(
        tmp_path_factory.mktemp("lora"), lora_files.matrices(base, RANK, lora_files.ATTENTION), RANK
    )


@pytest.fixture(scope="module")
def with_others(bucket: Bucket, adapter: Path) -> Bucket:
    """Another prefix of the bucket has weights of before safetensors, one a config that is none."""
    bucket.put(adapter / "adapter_config.json", key="adapters/old/adapter_config.json")
    bucket.put(adapter / ADAPTER_WEIGHTS_FILE, key="adapters/old/adapter_model.bin")
    bucket.put(adapter / ADAPTER_WEIGHTS_FILE, key="adapters/large/adapter_config.json")
    return bucket


@pytest.fixture
def line(bucket: Bucket, adapter: Path) -> Iterator[Line]:
    """The way to the bucket, which has the adapter."""
    for name in ADAPTER_FILES:
        bucket.put(adapter / name, key=f"{PREFIX}/{name}")
    with s3_server.line(bucket.port) as made:
        yield made


@dataclass(frozen=True)
class Import:
    """What stays of a run's imports, one pod after the other."""

    folder: Path

    def start(
        self, port: int, known: Mapping[str, str], prefix: str = PREFIX, uid: str = "a-pod"
    ) -> subprocess.Popen[bytes]:
        """A pod with these credentials, and with none that this machine may have."""
        self.folder.mkdir(exist_ok=True)
        order = ImportConfig(
            base=BaseLocation(folder=str(MODEL), fingerprint=fingerprint(MODEL, base_files(MODEL))),
            base_reference=BaseReference(name="base", digest=DIGEST, chat_template_digest=DIGEST),
            source=f"s3://{BUCKET}/{prefix}",
            folder=str(self.folder / "fetched"),
            fetch=S3Folder(bucket=BUCKET, prefix=prefix, endpoint=f"http://127.0.0.1:{port}"),
            output_folder=str(self.folder),
        )
        own = {name: text for name, text in os.environ.items() if name not in S3_CREDENTIALS}
        variables = own | {
            "WARDROBE_CONFIG": order.model_dump_json(by_alias=True, exclude_none=True),
            "WARDROBE_TERMINATION_LOG": str(self.folder / "message"),
            POD_UID_VARIABLE: uid,
        }
        with (self.folder / "log").open("ab") as log:
            command = [str(python("trainer")), "-m", "wardrobe_trainer", "import"]
            return subprocess.Popen(command, env=variables | dict(known), stdout=log, stderr=subprocess.STDOUT)

    def result(self, port: int, known: Mapping[str, str] = KNOWN, prefix: str = PREFIX) -> Result:
        """How a pod ended."""
        self.start(port, known, prefix).wait(HANG)
        return Result.model_validate_json((self.folder / RESULT_FILE).read_text())

    @property
    def taken(self) -> list[str]:
        """Folders that it has left."""
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir())


@pytest.fixture
def imported(tmp_path: Path) -> Import:
    return Import(tmp_path / "import")


def test_both_files_are_taken_as_they_are_and_no_copy_of_the_download_stays(
    line: Line, imported: Import, adapter: Path
) -> None:
    found = imported.result(line.port).payload
    assert isinstance(found, Imported)
    assert found.digest == of_files({name: sha256_file(adapter / name) for name in ADAPTER_FILES})
    assert (found.lora.rank, found.lora.target_modules) == (RANK, ["k_proj", "o_proj", "q_proj", "v_proj"])
    assert imported.taken == ["adapter"]


def test_another_pod_goes_on_where_one_was_that_was_told_to_stop(line: Line, imported: Import, adapter: Path) -> None:
    size = (adapter / ADAPTER_WEIGHTS_FILE).stat().st_size
    line.cut, line.hold = size // 2, True
    first = imported.start(line.port, KNOWN, uid="first")
    assert line.held.wait(HANG)
    part = imported.folder / ".fetched.first" / "adapter_model.part"
    eventually(lambda: part.exists() and part.stat().st_size > 0, what="a part of it")
    first.terminate()
    first.wait()
    line.cut = None
    assert isinstance(imported.result(line.port).payload, Imported)
    assert line.passed < 1.3 * size
    assert imported.taken == ["adapter"]


WRONG: dict[str, tuple[str, Mapping[str, str], Reason, str]] = {
    "prefix": ("adapters/nowhere", KNOWN, Reason.ADAPTER_MISSING, "there is no such key in the bucket"),
    "no name": (PREFIX, NOBODY, Reason.CREDENTIALS_REFUSED, "spec.adapter.credentials is '(not set)'"),
    "size": ("adapters/large", KNOWN, Reason.ADAPTER_INVALID, "adapter_config.json': it is larger than 131072 bytes"),
    "pickle": ("adapters/old", KNOWN, Reason.ADAPTER_INVALID, "its weights are adapter_model.bin, a pickle"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.usefixtures("line")
def test_what_is_wrong_is_named(imported: Import, with_others: Bucket, what: str) -> None:
    prefix, known, reason, says = WRONG[what]
    result = imported.result(with_others.port, known, prefix)
    assert failure(result) == (ExitCode.BAD_ADAPTER, reason)
    assert says in result.message
    assert SECRET not in (imported.folder / "log").read_text() + result.message
    assert "adapter" not in imported.taken
