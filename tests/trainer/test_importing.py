"""An adapter of somebody else's: taken as it is where it is sane, and refused by field, value, rule and next step."""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load, save_file

from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_contracts.check import CheckConfig, CheckReport
from wardrobe_contracts.digests import of_files, sha256_file
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.imports import ImportConfig, Imported
from wardrobe_contracts.inspection import Inspection
from wardrobe_contracts.manifest import ADAPTER_FILES, ImportLineage, Manifest
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_contracts.training import Lora, Scaling
from wardrobe_trainer import importing
from wardrobe_trainer.assess import assess
from wardrobe_trainer.check import check
from wardrobe_trainer.importing import bring_in
from wardrobe_trainer.loading import load_base
from wardrobe_trainer.problems import TaskError

CONFIG, WEIGHTS = ADAPTER_FILES
SOURCE = "pvc://models/foreign"
Import = Callable[..., ImportConfig]
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory, base_folder: Path) -> Path:
    """An adapter as PEFT itself makes and saves one, whose B are not zero."""
    torch.manual_seed(1)
    wanted = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, lora_dropout=0.1, target_modules=["q_proj", "v_proj"])
    model = get_peft_model(load_base(base_folder, Variant.NONE, Accelerator.CPU), wanted)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    folder = tmp_path_factory.mktemp("foreign")
    model.save_pretrained(str(folder))
    return folder


@pytest.fixture
def copied(foreign: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(foreign, tmp_path / "copied"))


@pytest.fixture
def order(base_folder: Path, inspection: Inspection, tmp_path: Path) -> Import:
    def make(folder: Path, **changes: Any) -> ImportConfig:
        values = {
            "base": {"folder": str(base_folder), "fingerprint": inspection.fingerprint},
            "base_reference": {
                "name": "tantanila-base",
                "digest": inspection.digest,
                "chat_template_digest": inspection.tokenizer.chat_template_digest,
            },
            "source": SOURCE,
            "folder": str(folder),
            "output_folder": str(tmp_path / "import"),
        }
        return ImportConfig.model_validate(values | changes)

    return make


def refused(order: ImportConfig) -> tuple[Reason, Problem]:
    """What an import is refused for. Nothing is left where assess would look."""
    with pytest.raises(TaskError) as caught:
        bring_in(order)
    assert caught.value.code is ExitCode.BAD_ADAPTER
    output = Path(order.output_folder)
    assert not output.exists() or list(output.iterdir()) == [], "what is refused takes no room"
    return caught.value.reason, caught.value.problem


def test_what_is_sane_is_taken_as_it_is(foreign: Path, order: Import) -> None:
    config = order(foreign)
    found = bring_in(config)
    taken = Path(config.output_folder) / "adapter"
    assert sorted(path.name for path in taken.iterdir()) == sorted(ADAPTER_FILES)
    assert [sha256_file(taken / name) for name in ADAPTER_FILES] == [
        sha256_file(foreign / name) for name in ADAPTER_FILES
    ]
    assert found == Imported(
        digest=of_files({name: sha256_file(foreign / name) for name in ADAPTER_FILES}),
        size_bytes=sum((foreign / name).stat().st_size for name in ADAPTER_FILES),
        lora=Lora(rank=4, alpha=8, dropout=0.1, target_modules=["q_proj", "v_proj"]),
    )


def test_the_digest_is_what_a_person_can_print(foreign: Path, order: Import) -> None:
    lines = subprocess.run(["sha256sum", *ADAPTER_FILES], cwd=foreign, stdout=subprocess.PIPE, check=True).stdout
    printed = f"sha256:{hashlib.sha256(lines).hexdigest()}"
    assert bring_in(order(foreign, digest=printed)).digest == printed


def test_a_pod_that_follows_another_touches_nothing_of_it(foreign: Path, order: Import) -> None:
    """The other one may still work, where only its node is not reached."""
    config = order(foreign)
    others = Path(config.output_folder) / ".adapter.another-pods-uid"
    others.mkdir(parents=True)
    (others / WEIGHTS).write_bytes(b"half of it")
    assert bring_in(config) == bring_in(order(foreign)), "and what is there already is what will be measured"
    assert (others / WEIGHTS).read_bytes() == b"half of it"


def test_of_two_pods_at_once_both_say_what_was_taken_first(
    foreign: Path, order: Import, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = order(foreign)
    kept, first = (
        Path(config.output_folder) / "adapter",
        bring_in(order(foreign, output_folder=str(tmp_path / "first"))),
    )
    took = importing.take

    def overtaken(config: ImportConfig, stage: Path) -> None:
        took(config, stage)
        (tmp_path / "first" / "adapter").rename(kept)
        edit(stage, r=4, lora_alpha=9)  # the source was written meanwhile

    monkeypatch.setattr(importing, "take", overtaken)
    assert bring_in(config) == first
    assert [path.name for path in kept.parent.iterdir()] == ["adapter"]


def test_what_another_pod_has_taken_is_looked_at_all_the_same(foreign: Path, order: Import) -> None:
    config = order(foreign)
    bring_in(config)
    edit(Path(config.output_folder) / "adapter", use_dora=True)
    with pytest.raises(TaskError, match="use_dora"):
        bring_in(config)


def test_full_names_of_layers_are_told_by_their_last_parts(copied: Path, order: Import) -> None:
    names = sorted({name.removeprefix("base_model.model.").partition(".lora_")[0] for name in read(copied)})
    edit(copied, target_modules=names, use_rslora=True)
    lora = bring_in(order(copied)).lora
    assert (lora.target_modules, lora.scaling) == (["q_proj", "v_proj"], Scaling.RANK_STABILIZED)


def edit(folder: Path, **changes: object) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def read(folder: Path) -> dict[str, torch.Tensor]:
    """The weights, of which nothing is in the file any more: that is going to be written over."""
    found: dict[str, torch.Tensor] = load((folder / WEIGHTS).read_bytes())
    return found


def tensors(folder: Path, change: Callable[[str, torch.Tensor], torch.Tensor | None]) -> None:
    """Rewrite the weights; None leaves one out."""
    changed = {name: change(name, matrix) for name, matrix in read(folder).items()}
    save_file({name: matrix.contiguous() for name, matrix in changed.items() if matrix is not None}, folder / WEIGHTS)


def of_b(value: float) -> Callable[[str, torch.Tensor], torch.Tensor]:
    return lambda name, matrix: torch.full_like(matrix, value) if "lora_B" in name else matrix


def one_value(folder: Path) -> None:
    """A single value of all that is no number."""
    found = read(folder)
    next(iter(found.values()))[0, 0] = float("nan")
    save_file(found, folder / WEIGHTS)


def torch_saved(folder: Path) -> None:
    torch.save(read(folder), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()


def torch_saved_under_another_name(folder: Path) -> None:
    torch.save(read(folder), folder / WEIGHTS)


def pickled_under_another_name(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(pickle.dumps({"weights": [1.0]}))


def as_a_pipe(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


def as_a_folder(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


def cut_short(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])


PLAIN, NUMBERS = "plain LoRA adapter", "lower learning rate"
BAD: dict[str, tuple[Damage, str, str]] = {
    "pickle": (
        torch_saved,
        "its weights are adapter_model.bin, a pickle, which runs code",
        "save_pretrained writes safe",
    ),
    "zipped pickle as safetensors": (torch_saved_under_another_name, "is a pickle, which runs code", PLAIN),
    "bare pickle as safetensors": (pickled_under_another_name, "is a pickle, which runs code", PLAIN),
    "DoRA": (lambda folder: edit(folder, use_dora=True), "uses use_dora", PLAIN),
    "modules to save": (lambda folder: edit(folder, modules_to_save=["lm_head"]), "uses modules_to_save", PLAIN),
    "biases": (lambda folder: edit(folder, bias="all"), "uses bias", PLAIN),
    "ranks by layer": (lambda folder: edit(folder, rank_pattern={"q_proj": 2}), "uses rank_pattern", PLAIN),
    "another method": (lambda folder: edit(folder, peft_type="IA3"), "peft_type is 'IA3', only LORA is served", PLAIN),
    "a start that changes the base": (lambda folder: edit(folder, init_lora_weights="pissa"), "another base's", PLAIN),
    "modules by a pattern": (lambda folder: edit(folder, target_modules=".*"), "are no list", PLAIN),
    "config of a lower rank": (lambda folder: edit(folder, r=2), "rank 2 needs A of (2, inputs)", PLAIN),
    "half an alpha": (lambda folder: edit(folder, lora_alpha=0.5), "its lora_alpha is 0.5", PLAIN),
    "alpha in words": (
        lambda folder: edit(folder, lora_alpha="high"),
        "lora_alpha is 'high', which is none of the values",
        PLAIN,
    ),
    "a turned matrix": (lambda f: tensors(f, lambda name, found: found.T if "lora_A" in name else found), "of", PLAIN),
    "a matrix of another base": (
        lambda f: tensors(f, lambda name, found: found[:, :-8] if "q_proj.lora_A" in name else found),
        "input and output features, on this base it has (256, 256)",
        "Name the BaseModel that it was trained on in spec.baseModel",
    ),
    "layers that the base does not have": (
        lambda f: rename(f, "layers.5.", "layers.25."),
        "which is no linear layer of this base",
        "Name the BaseModel",
    ),
    "layers that the file lost": (
        lambda f: tensors(f, lambda name, found: None if "layers.5." in name else found),
        "lacks model.layers.5.self_attn.q_proj",
        "Name the BaseModel",
    ),
    "no numbers": (lambda folder: tensors(folder, of_b(float("inf"))), "holds values that are no numbers", NUMBERS),
    "one that is no number": (one_value, "holds values that are no numbers", NUMBERS),
    "whole numbers": (lambda f: tensors(f, lambda _, found: found.to(torch.int8)), "torch.int8, and weights", PLAIN),
    "eight bits": (lambda f: tensors(f, lambda _, found: found.to(torch.float8_e4m3fn)), "torch.float8_e4m3fn", PLAIN),
    "zero B": (lambda folder: tensors(folder, of_b(0.0)), "every B matrix is zero", "as it is after its training"),
    "a pipe": (as_a_pipe, "adapter_model.safetensors is no regular file", PLAIN),
    "a folder": (as_a_folder, "adapter_model.safetensors is no regular file", PLAIN),
    "a download cut short": (cut_short, "adapter_model.safetensors cannot be read", PLAIN),
    "config that is no JSON": (lambda folder: (folder / CONFIG).write_text("{"), "cannot be read", PLAIN),
    "config that is too large": (lambda f: edit(f, target_modules=["q_proj"] * 20_000), "is larger than 131072", PLAIN),
}


def rename(folder: Path, old: str, new: str) -> None:
    save_file({name.replace(old, new): found for name, found in read(folder).items()}, folder / WEIGHTS)


@pytest.mark.parametrize("damage", BAD)
def test_what_is_not_sane_is_refused_by_name(damage: str, copied: Path, order: Import) -> None:
    change, rule, next_step = BAD[damage]
    change(copied)
    reason, problem = refused(order(copied))
    assert (reason, problem.field, problem.value) == (Reason.ADAPTER_INVALID, "spec.adapter.source", SOURCE)
    assert rule in problem.rule
    assert next_step in problem.next_step


def test_another_digest_than_was_asked_for(foreign: Path, order: Import) -> None:
    wanted = f"sha256:{'0' * 64}"
    reason, problem = refused(order(foreign, digest=wanted))
    assert (reason, problem.field, problem.value) == (Reason.ADAPTER_INVALID, "spec.adapter.digest", wanted)
    found = of_files({name: sha256_file(foreign / name) for name in ADAPTER_FILES})
    assert problem.rule == f"both files of {SOURCE} together have {found}"
    assert "sha256sum adapter_config.json adapter_model.safetensors | sha256sum" in problem.next_step


@pytest.mark.parametrize(
    ("source", "rule", "next_step"),
    [
        ("pvc://models/foreign", "the folder has README.md", "Name the folder that holds adapter_config.json and"),
        ("run://cardiology-0a1b2c3d/2", "the folder has README.md", "an attempt that has trained to its end"),
    ],
)
def test_a_folder_without_an_adapter(source: str, rule: str, next_step: str, tmp_path: Path, order: Import) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "README.md").write_text("nothing here")
    reason, problem = refused(order(folder, source=source))
    expected = (Reason.ADAPTER_MISSING, "spec.adapter.source", f"{source}/adapter_config.json")
    assert (reason, problem.field, problem.value) == expected
    assert (problem.rule, next_step in problem.next_step) == (rule, True)


def test_no_folder(tmp_path: Path, order: Import) -> None:
    reason, problem = refused(order(tmp_path / "nowhere"))
    assert (reason, problem.rule) == (Reason.ADAPTER_MISSING, "there is no such folder, or nothing in it")


def test_what_wardrobe_published_says_of_which_base_it_is(copied: Path, order: Import, manifest: Manifest) -> None:
    """Also where another base has the same shapes."""
    (copied / "manifest.json").write_text(manifest.model_dump_json(by_alias=True))
    bring_in(order(copied))
    shutil.rmtree(Path(order(copied).output_folder))
    other = manifest.base.model_copy(update={"digest": f"sha256:{'b' * 64}"})
    text = manifest.model_copy(update={"base": other}).model_dump_json(by_alias=True)
    (copied / "manifest.json").write_text(text)
    reason, problem = refused(order(copied))
    assert reason is Reason.ADAPTER_INVALID
    assert f"its manifest.json says that it belongs to the base tantanila-base of digest {other.digest}" in problem.rule


def test_what_else_is_called_a_manifest_tells_nothing(copied: Path, order: Import) -> None:
    (copied / "manifest.json").write_text('{"name": "an app"}')
    bring_in(order(copied))


@pytest.fixture(scope="module")
def checked(
    tmp_path_factory: pytest.TempPathFactory, base_folder: Path, inspection: Inspection, cardiology: Path
) -> Path:
    """What a check leaves of some rows."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "data.jsonl").write_text("".join(line + "\n" for line in cardiology.read_text().splitlines()[:40]))
    config = CheckConfig.model_validate(
        {
            "base": {"folder": str(base_folder), "fingerprint": inspection.fingerprint},
            "dataset_file": str(folder / "data.jsonl"),
            "source": "pvc://data/cardiology.jsonl",
            "sequence_length": 128,
            "validation_fraction": 0.2,
            "seed": 7,
            "output_folder": str(folder / "check"),
        }
    )
    text = Result.success("done", check(config)).model_dump_json(by_alias=True)
    (folder / "check" / RESULT_FILE).write_text(text)
    return folder / "check"


def assess_order(order: ImportConfig, checked: Path, found: Imported, line: Path) -> AssessConfig:
    """As the operator makes it of an import."""
    report = Result.model_validate_json((checked / RESULT_FILE).read_text()).payload
    assert isinstance(report, CheckReport)
    return AssessConfig(
        run="cardiology-0000",
        line="cardiology",
        base=order.base,
        base_reference=order.base_reference,
        data_folder=str(checked),
        heldout_digest=report.heldout_digest,
        candidate_folder=str(Path(order.output_folder) / "adapter"),
        line_folder=str(line),
        output_folder=str(line.parent / "assess"),
        variants=[Variant.NONE],
        lineage=ImportLineage(
            job="cardiology",
            job_uid="0000",
            adapter_source=order.source,
            adapter_digest=found.digest,
            dataset_source="pvc://data/cardiology.jsonl",
            dataset_digest=report.dataset_digest,
            heldout_rows=report.heldout_rows,
            lora=found.lora,
            sequence_length=128,
            seed=7,
        ),
        accelerator=Accelerator.CPU,
    )


@pytest.fixture(scope="module")
def manifest(
    tmp_path_factory: pytest.TempPathFactory, foreign: Path, checked: Path, base_folder: Path, inspection: Inspection
) -> Manifest:
    """Of the import that was assessed; what is published is held against it, too."""
    folder = tmp_path_factory.mktemp("published")
    reference = {
        "name": "tantanila-base",
        "digest": inspection.digest,
        "chat_template_digest": inspection.tokenizer.chat_template_digest,
    }
    config = ImportConfig.model_validate(
        {
            "base": {"folder": str(base_folder), "fingerprint": inspection.fingerprint},
            "base_reference": reference,
            "source": SOURCE,
            "folder": str(foreign),
            "output_folder": str(folder / "import"),
        }
    )
    found = assess(assess_order(config, checked, bring_in(config), folder / "line"))
    (published,) = (folder / "line").iterdir()
    assert published.name == found.digest.removeprefix("sha256:")
    assert {path.name for path in published.iterdir()} == {*ADAPTER_FILES, "manifest.json", "probes.json", "README.md"}
    return Manifest.model_validate_json((published / "manifest.json").read_text())


def test_what_was_taken_is_measured_probed_and_published_as_ours_are(manifest: Manifest, foreign: Path) -> None:
    assert manifest.files[WEIGHTS] == sha256_file(foreign / WEIGHTS)
    assert isinstance(manifest.lineage, ImportLineage)
    assert manifest.lineage.adapter_source == SOURCE
    (evaluation,) = manifest.evaluations
    assert evaluation.whole.candidate.loss != evaluation.whole.base.loss


def test_the_same_adapter_on_other_data_is_another_line(
    manifest: Manifest, foreign: Path, order: Import, checked: Path, tmp_path: Path
) -> None:
    """Nothing published is overwritten, and it is said what else can be done."""
    config = order(foreign)
    wanted = assess_order(config, checked, bring_in(config), tmp_path / "line")
    assess(wanted)
    assert isinstance(wanted.lineage, ImportLineage)
    grown = wanted.lineage.model_copy(update={"dataset_digest": f"sha256:{'9' * 64}"})
    with pytest.raises(TaskError) as caught:
        assess(wanted.model_copy(update={"lineage": grown}))
    assert caught.value.problem.field == "spec.adapter.source"
    assert "import it into another line by spec.output.adapter" in caught.value.problem.next_step
