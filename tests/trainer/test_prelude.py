"""A base whose template wants a prelude: check, training and who measures read by it. What that leaves is imported."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import assessed

from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import BaseLocation
from wardrobe_contracts.digests import fingerprint, of_files, sha256_file
from wardrobe_contracts.imports import ImportConfig
from wardrobe_contracts.inspection import Inspection
from wardrobe_contracts.manifest import ADAPTER_FILES
from wardrobe_models.chat import ChatTemplateError
from wardrobe_trainer.importing import bring_in
from wardrobe_trainer.measuring import prepared
from wardrobe_trainer.model_files import model_files
from wardrobe_trainer.problems import TaskError

PRELUDE = "{% set told = true %}"
STRICT = "{% if told is not defined %}{{ raise_exception('there is no prelude') }}{% endif %}"


@pytest.fixture(scope="module")
def base(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(base_folder, tmp_path_factory.mktemp("strict") / "base"))
    template = folder / "chat_template.jinja"
    template.write_text(STRICT + template.read_text())
    return folder


@pytest.fixture(scope="module")
def inspected(base: Path, inspection: Inspection) -> Inspection:
    return inspection.model_copy(update={"fingerprint": fingerprint(base, model_files(base))})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, base: Path, inspected: Inspection, cardiology: Path) -> Path:
    """Checked and trained; training renders the rows itself here, as of a check that left no tokens."""
    return assessed.trained(tmp_path_factory.mktemp("run"), base, inspected, cardiology, PRELUDE)


@pytest.fixture
def order(run: Path, base: Path, inspected: Inspection, tmp_path: Path) -> Callable[[str], AssessConfig]:
    def make(prelude: str) -> AssessConfig:
        location = BaseLocation(folder=str(base), fingerprint=inspected.fingerprint, chat_prelude=prelude)
        return assessed.order(run, base, inspected, tmp_path, base=location)

    return make


def test_the_check_reads_by_it(base: Path, inspected: Inspection, cardiology: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="there is no prelude"):
        assessed.trained(tmp_path, base, inspected, cardiology)


def test_so_does_who_measures(order: Callable[[str], AssessConfig]) -> None:
    assert prepared(order(PRELUDE)).questions
    with pytest.raises(ChatTemplateError, match="there is no prelude"):
        prepared(order(""))


def test_what_an_attempt_has_left_is_imported(run: Path, base: Path, inspected: Inspection, tmp_path: Path) -> None:
    """So that an assessment that failed costs no second training."""
    left = run / "1" / "adapter"
    config = ImportConfig.model_validate(
        {
            "base": {"folder": str(base), "fingerprint": inspected.fingerprint, "chatPrelude": PRELUDE},
            "base_reference": {
                "name": "tantanila-base",
                "digest": inspected.digest,
                "chat_template_digest": inspected.tokenizer.chat_template_digest,
            },
            "source": "run://cardiology-1-0000/1",
            "folder": str(left),
            "output_folder": str(tmp_path / "import"),
        }
    )
    found = bring_in(config)
    assert found.digest == of_files({name: sha256_file(left / name) for name in ADAPTER_FILES})
    assert (found.lora.rank, found.lora.alpha, len(found.lora.target_modules)) == (4, 8, 7)
