"""Assessment by pods that are killed, that are two at once, and whose store is full: each ends as one undisturbed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support import assessed
from support.stores import store
from support.task_pods import STANDS, Pod

from wardrobe_contracts.assessment import AssessConfig, Assessment
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.inspection import Inspection
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_trainer.publish import verify

MakeOrder = Callable[..., AssessConfig]
ROWS = 2


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, base_folder: Path, inspection: Inspection, cardiology: Path
) -> Path:
    return assessed.trained(tmp_path_factory.mktemp("run"), base_folder, inspection, cardiology)


@pytest.fixture
def order(trained: Path, base_folder: Path, inspection: Inspection, tmp_path: Path) -> MakeOrder:
    common = {"max_rows": ROWS, "scores_folder": str(tmp_path / "scores")}
    return partial(assessed.order, trained, base_folder, inspection, tmp_path, **common)


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, trained: Path, base_folder: Path, inspection: Inspection
) -> Assessment:
    """What one pod comes to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    alone = assessed.order(trained, base_folder, inspection, folder, max_rows=ROWS)
    return payload(Pod("assess", alone, "alone", folder).ends())


def payload(result: Result) -> Assessment:
    assert isinstance(result.payload, Assessment), result.message
    return result.payload


def published(config: AssessConfig) -> set[str]:
    """Names of whole artifacts; whatever has such a name is one."""
    folders = list(Path(config.line_folder).glob("[!.]*"))
    for folder in folders:
        verify(folder, f"sha256:{folder.name}")
    return {folder.name for folder in folders}


STEPS = {
    "begun": (),
    "measuring": (),
    "about to stage": ("os.mkdir", "/.cardiology-1-0000."),
    "about to rename": ("os.rename", "/.cardiology-1-0000."),
    "about to record": ("open", f"/.{RESULT_FILE}."),
}
SAYS = {"begun": "candidate sha256:", "measuring": "held-out rows"}


def test_killed_in_each_of_its_steps_it_ends_as_if_nothing_had_happened(
    order: MakeOrder, undisturbed: Assessment, tmp_path: Path
) -> None:
    """One pod after another, each of which comes a step further."""
    config = order()
    for step, stands_before in STEPS.items():
        pod = Pod("assess", config, step.replace(" ", "-"), tmp_path, *stands_before)
        pod.until(SAYS.get(step, STANDS))
        pod.kill()
        assert published(config) == ({undisturbed.digest[7:]} if step == "about to record" else set())
    last = Pod("assess", config, "the-last", tmp_path)
    assert payload(last.ends()) == undisturbed
    assert published(config) == {undisturbed.digest[7:]}
    assert "it stays as it is" in last.output


def test_two_pods_of_one_run_at_once_publish_once_and_say_the_same(
    order: MakeOrder, undisturbed: Assessment, tmp_path: Path
) -> None:
    """As where a node is not reached: its pod lives, and the Job has another."""
    config = order()
    old = Pod("assess", config, "the-old", tmp_path, *STEPS["about to rename"])
    new = Pod("assess", config, "the-new", tmp_path, *STEPS["about to stage"])  # nor does it overtake the other
    old.until()
    new.until()
    assert payload(new.ends()) == undisturbed
    assert payload(old.ends()) == undisturbed
    assert [path.name for path in Path(config.line_folder).iterdir()] == [undisturbed.digest[7:]]
    assert published(config) == {undisturbed.digest[7:]}
    assert len(kept := list((tmp_path / "scores").iterdir())) == 2, f"of the base and the candidate: {kept}"
    record = Result.model_validate_json((Path(config.output_folder) / RESULT_FILE).read_text())
    assert payload(record) == undisturbed


def test_a_store_that_is_full_costs_another_try_and_no_score(
    order: MakeOrder, undisturbed: Assessment, tmp_path: Path
) -> None:
    room = undisturbed.size_bytes * 2
    with store(tmp_path / "store", size=room) as folder:
        filler = folder / "filler"
        filler.write_bytes(bytes(room - undisturbed.size_bytes // 2))
        config = order(line_folder=str(folder / "line"))
        full = Pod("assess", config, "the-first", tmp_path).ends()
        assert (full.exit_code, full.reason) == (ExitCode.STORE, Reason.STORE_FAILED)
        assert "No space left on device" in full.message
        assert list((folder / "line").iterdir()) == []
        filler.unlink()
        second = Pod("assess", config, "the-second", tmp_path)
        assert payload(second.ends()) == undisturbed
        assert second.output.count("are kept from before") == 2
        assert published(config) == {undisturbed.digest[7:]}
