"""An Adapter by hand is held against the files that it names; what is not so is said by the field that says it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import save_file

from wardrobe_contracts.base import Method, Variant
from wardrobe_contracts.digests import of_files, sha256, sha256_file
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.gate import Verdict
from wardrobe_contracts.inspection import Inspection
from wardrobe_contracts.manifest import (
    ADAPTER_FILES,
    BaseReference,
    Comparison,
    Evaluation,
    Lineage,
    Manifest,
    Score,
)
from wardrobe_contracts.probes import Probe, Probes, ProbeScores
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.training import Lora, Schedule
from wardrobe_contracts.verification import VerifyConfig
from wardrobe_models.adapter_files import linear_features
from wardrobe_models.loading import skeleton
from wardrobe_trainer.problems import TaskError
from wardrobe_trainer.verifying import verify_artifact

CONFIG, WEIGHTS = ADAPTER_FILES
PATH = "adapters/cardiology/promoted"
LOSSES = Comparison(base=Score.of(41.0, 10), candidate=Score.of(25.0, 10))
Damage = Callable[[Path], object]


@pytest.fixture
def artifact(base_folder: Path, inspection: Inspection, tmp_path: Path) -> Path:
    """As another Wardrobe has published it."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    torch.manual_seed(0)
    save_file(
        {
            f"base_model.model.{name}.lora_{side}.weight": torch.randn(4, inputs)
            if side == "A"
            else torch.randn(outputs, 4)
            for name, (inputs, outputs) in linear_features(skeleton(base_folder)).items()
            if name.endswith("q_proj")
            for side in "AB"
        },
        folder / WEIGHTS,
    )
    LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=["q_proj"]).save_pretrained(str(folder))
    scores = {Variant.NF4: ProbeScores(base=[-1.0], adapter=[-0.5])}
    probe = Probe(prompt="Why?", prompt_tokens=2, completion="So.", completion_tokens=1, scores=scores)
    digest = of_files({name: sha256_file(folder / name) for name in ADAPTER_FILES})
    probes = Probes(adapter_digest=digest, base_digest=inspection.digest, seed=7, probes=[probe])
    (folder / "probes.json").write_text(probes.model_dump_json(by_alias=True))
    write_manifest(folder, inspection.digest)
    return folder


def write_manifest(folder: Path, base: str, verdict: Verdict | None = None) -> None:
    """Of the files as they are."""
    files = {name: sha256_file(folder / name) for name in (*ADAPTER_FILES, "probes.json")}
    manifest = Manifest(
        line="cardiology",
        digest=of_files({name: files[name] for name in ADAPTER_FILES}),
        files=files,
        base=BaseReference(name="elsewhere", digest=base, chat_template_digest=sha256(b"t")),
        lineage=Lineage(
            job="j",
            job_uid="u",
            dataset_source="s",
            dataset_digest=sha256(b"d"),
            train_rows=1,
            heldout_rows=1,
            method=Method.LORA,
            lora=Lora(rank=4, alpha=8, dropout=0, target_modules=["q_proj"]),
            schedule=Schedule(
                epochs=1, learning_rate=1e-4, batch_size=8, micro_batch_size=8, sequence_length=128, seed=7
            ),
            packages={},
        ),
        evaluations=[Evaluation(variant=Variant.NF4, whole=LOSSES, body=LOSSES)],
        verdict=verdict,
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json(by_alias=True))


@pytest.fixture
def order(artifact: Path, base_folder: Path, inspection: Inspection, tmp_path: Path) -> Callable[..., VerifyConfig]:
    """Of an Adapter that says of the files, as they are when this is called, what is so."""

    def make(**changes: Any) -> VerifyConfig:
        there = all((artifact / name).is_file() for name in ADAPTER_FILES)
        values = {
            "base": {"folder": str(base_folder), "fingerprint": inspection.fingerprint},
            "base_reference": {
                "name": "base",
                "digest": inspection.digest,
                "chat_template_digest": inspection.tokenizer.chat_template_digest,
            },
            "adapter": "cardiology-v3",
            "artifact": PATH,
            "artifact_folder": str(artifact),
            "digest": of_files({name: sha256_file(artifact / name) for name in ADAPTER_FILES})
            if there
            else sha256(b""),
            "manifest_digest": sha256_file(artifact / "manifest.json"),
            "rank": 4,
            "alpha": 8,
            "scaling": "Standard",
            "target_modules": ["q_proj"],
            "measured": [{"variant": "NF4", "base": 4.1, "candidate": 2.5}],
            "output_folder": str(tmp_path / "verify"),
        }
        return VerifyConfig.model_validate(values | changes)

    return make


Order = Callable[..., VerifyConfig]


def refused(order: VerifyConfig) -> tuple[Reason, Problem]:
    with pytest.raises(TaskError) as caught:
        verify_artifact(order)
    assert caught.value.code is ExitCode.BAD_ADAPTER
    return caught.value.reason, caught.value.problem


def test_what_is_as_it_says(artifact: Path, order: Order) -> None:
    found = verify_artifact(order())
    assert found.digest == order().digest
    assert found.size_bytes == sum(path.stat().st_size for path in artifact.iterdir() if path.name != "README.md")


def test_all_linear_layers_are_more_than_any_name(order: Order) -> None:
    verify_artifact(order(target_modules=["all-linear"]))


@pytest.mark.parametrize(
    ("written", "field", "value", "rule"),
    [
        (
            {"digest": f"sha256:{'0' * 64}"},
            "spec.digest",
            f"sha256:{'0' * 64}",
            "the files of adapters/cardiology/promoted",
        ),
        (
            {"manifest_digest": f"sha256:{'0' * 64}"},
            "spec.manifestDigest",
            f"sha256:{'0' * 64}",
            "manifest.json has sha",
        ),
        ({"rank": 8}, "spec.lora.rank", "8", "its configuration has 4"),
        (
            {"target_modules": ["k_proj", "v_proj"]},
            "spec.lora.targetModules",
            "k_proj, v_proj",
            "its weights adapt q_proj, too",
        ),
        ({"alpha": 16}, "spec.lora.alpha", "16", "its configuration has 8"),
        ({"scaling": "RankStabilized"}, "spec.lora.scaling", "RankStabilized", "its configuration has Standard"),
        (
            {"measured": [{"variant": "NF4", "base": 4.1, "candidate": 1.5}]},
            "spec.evaluations",
            "NF4: 4.1000 → 1.5000",
            "its manifest.json has 4.1000 → 2.5000",
        ),
        (
            {"measured": [{"variant": "INT8", "base": 4.1, "candidate": 2.5}]},
            "spec.evaluations",
            "INT8: 4.1000 → 2.5000",
            "nothing measured on it",
        ),
    ],
)
def test_what_the_adapter_says_otherwise(
    order: Order, written: dict[str, Any], field: str, value: str, rule: str
) -> None:
    reason, problem = refused(order(**written))
    assert (reason, problem.field, problem.value) == (Reason.ADAPTER_INVALID, field, value)
    assert rule in problem.rule
    assert problem.next_step


def flip(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(data))


def as_a_pipe(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


BAD: dict[str, tuple[Damage, Reason, str]] = {
    "no folder": (shutil.rmtree, Reason.ADAPTER_MISSING, "the store has no such folder"),
    "a file missing": (
        lambda folder: (folder / "probes.json").unlink(),
        Reason.ADAPTER_MISSING,
        "probes.json is missing; the folder has",
    ),
    "a bit flipped": (flip, Reason.ADAPTER_INVALID, "adapter_model.safetensors is not what manifest.json lists"),
    "other probes": (
        lambda folder: (folder / "probes.json").write_text("{}"),
        Reason.ADAPTER_INVALID,
        "probes.json is not what manifest.json lists",
    ),
    "a pipe": (as_a_pipe, Reason.ADAPTER_INVALID, "adapter_model.safetensors is no regular file"),
    "a config that is too large": (
        lambda folder: (folder / CONFIG).write_bytes(b" " * (131072 + 1)),
        Reason.ADAPTER_INVALID,
        "is larger than 131072 bytes",
    ),
}


@pytest.mark.parametrize("damage", BAD)
def test_files_that_are_others(damage: str, artifact: Path, order: Order) -> None:
    config, (change, wanted, rule) = order(), BAD[damage]
    change(artifact)
    reason, problem = refused(config)
    assert (reason, problem.field, problem.value) == (wanted, "spec.artifact.path", PATH)
    assert rule in problem.rule


def edit(folder: Path, name: str, **changes: object) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


HONEST: dict[str, tuple[Damage, str]] = {
    "DoRA": (lambda folder: edit(folder, CONFIG, use_dora=True), "uses use_dora"),
    "another rank": (lambda folder: edit(folder, CONFIG, r=8), "rank 8 needs A of (8, inputs)"),
    "no probes": (lambda folder: (folder / "probes.json").write_text("{}"), "holds no probes"),
}


@pytest.mark.parametrize("change", HONEST)
def test_files_that_say_of_themselves_what_is_so_and_are_no_adapter(
    change: str, artifact: Path, order: Order, inspection: Inspection
) -> None:
    damage, rule = HONEST[change]
    damage(artifact)
    write_manifest(artifact, inspection.digest)
    reason, problem = refused(order())
    assert (reason, problem.field) == (Reason.ADAPTER_INVALID, "spec.artifact.path")
    assert rule in problem.rule


def test_files_of_another_base(artifact: Path, order: Order) -> None:
    """Of the same shapes, too: the manifest says it."""
    other = sha256(b"another")
    write_manifest(artifact, other)
    _, problem = refused(order())
    assert problem.field == "spec.baseModel.digest"
    assert problem.rule == f"its manifest.json says that it belongs to the base elsewhere of {other}"


@pytest.mark.parametrize(
    ("judged", "written"),
    [(Verdict.REJECTED, None), (Verdict.REJECTED, Verdict.ACCEPTED), (None, Verdict.ACCEPTED)],
)
def test_a_verdict_that_is_not_the_gates(
    artifact: Path, order: Order, inspection: Inspection, judged: Verdict | None, written: Verdict | None
) -> None:
    """Else whoever promotes a rejected version makes an accepted one of it by leaving a line out."""
    write_manifest(artifact, inspection.digest, judged)
    _, problem = refused(order(verdict=written))
    assert (problem.field, problem.value) == ("spec.verdict", written or "(not set)")
    assert problem.rule == f"its manifest.json has {judged or 'none'}"
    verify_artifact(order(verdict=judged))


def test_what_is_no_manifest(artifact: Path, order: Order) -> None:
    (artifact / "manifest.json").write_text("{}")
    _, problem = refused(order())
    assert (problem.field, "is none of Wardrobe's" in problem.rule) == ("spec.artifact.path", True)


def test_a_variant_that_its_probes_do_not_know(artifact: Path, order: Order, inspection: Inspection) -> None:
    text = (artifact / "probes.json").read_text().replace('"NF4"', '"INT8"')
    (artifact / "probes.json").write_text(text)
    write_manifest(artifact, inspection.digest)
    _, problem = refused(order())
    assert (problem.field, problem.value) == ("spec.evaluations", "NF4")
    assert "has no scores on it" in problem.rule
