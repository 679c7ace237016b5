"""The held-out rows as the check left them, and the frame that it found in the answers."""

from pathlib import Path

from pydantic import ValidationError

from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.check import HELDOUT_FILE, CheckReport, Frame
from wardrobe_contracts.digests import sha256_file
from wardrobe_contracts.exits import Reason
from wardrobe_contracts.release import ReleaseConfig
from wardrobe_contracts.result import RESULT_FILE, Result

from .dataset import FIELD, Row, read_rows
from .problems import TaskError, bad_data


def read_heldout(config: AssessConfig | ReleaseConfig) -> list[Row]:
    """The held-out side as the check wrote it. Raises TaskError where it is another."""
    path = Path(config.data_folder) / HELDOUT_FILE
    found = sha256_file(path) if path.is_file() else "missing"
    if found != config.heldout_digest:
        raise _data_changed(f"{path.name} is {found[:19]}, not {config.heldout_digest[:19]} as the check recorded")
    return read_rows(path, str(path))


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
