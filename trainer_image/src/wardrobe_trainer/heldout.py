"""The held-out rows as the check left them, their tokens, and the frame that it found in the answers."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import Digest
from wardrobe_contracts.check import HELDOUT_FILE, HELDOUT_TOKENS_FILE, CheckReport, Frame
from wardrobe_contracts.digests import sha256_file
from wardrobe_contracts.exits import Reason
from wardrobe_contracts.release import ReleaseConfig
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_models.chat import Chat

from .dataset import FIELD, Row
from .evaluate import HeldOut, as_checked, prepare
from .layouts import kept_messages
from .problems import TaskError, bad_data
from .sampling import sample
from .token_file import TokenFile


def rows_of(config: AssessConfig | ReleaseConfig) -> Iterator[Row]:
    """The held-out side as the check wrote it, a row at a time. Raises TaskError where it is another."""
    path = _as_recorded(config, HELDOUT_FILE, config.heldout_digest)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            yield Row(number, kept_messages(line), line.decode().removesuffix("\n"))


def measured_rows(chat: Chat, config: AssessConfig | ReleaseConfig) -> list[HeldOut]:
    """At most `maxRows`, as the tokens that the check left, or, after one that left none, as they would be. Raises
    TaskError where these are others."""
    picked = sample(rows_of(config), config.max_rows)
    if config.heldout_tokens_digest is not None:
        return as_checked(TokenFile(_as_recorded(config, HELDOUT_TOKENS_FILE, config.heldout_tokens_digest)), picked)
    chosen = set(picked)
    rows = [row for place, row in enumerate(rows_of(config)) if place in chosen]
    return prepare(chat, rows, read_frame(Path(config.data_folder)), config.lineage.sequence_length)


def _as_recorded(config: AssessConfig | ReleaseConfig, name: str, digest: Digest) -> Path:
    path = Path(config.data_folder) / name
    found = sha256_file(path) if path.is_file() else "missing"
    if found != digest:
        raise _data_changed(f"{name} is {found[:19]}, not {digest[:19]} as the check recorded")
    return path


def read_frame(data_folder: Path) -> Frame:
    """The frame that the check found in the training answers. Raises TaskError where its record is gone."""
    try:
        report = Result.model_validate_json((data_folder / RESULT_FILE).read_bytes()).payload
    except (OSError, ValidationError) as error:  # whose text quotes the answers' frame
        raise _data_changed(f"the check's {RESULT_FILE} cannot be read") from error
    if not isinstance(report, CheckReport):
        raise _data_changed(f"the check's {RESULT_FILE} has no report")
    return report.frame


def _data_changed(rule: str) -> TaskError:
    return bad_data(
        Reason.DATA_CHANGED,
        field=FIELD,
        value="the run's copy",
        rule=rule,
        next_step="Leave the run's folder alone; make a new FineTuneJob to check and train again",
    )
