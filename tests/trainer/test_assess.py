"""Assessment on the real base, with a briefly trained adapter and a few held-out rows, on all three variants."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from support import assessed
from support.waiting import HANG

from wardrobe_contracts.assessment import AssessConfig, Assessment
from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_contracts.digests import of_files, sha256_file
from wardrobe_contracts.engines import ENGINES, EngineType, Precision
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.gate import Outcome, Verdict
from wardrobe_contracts.inspection import Inspection
from wardrobe_contracts.manifest import ImportLineage, Manifest
from wardrobe_contracts.probes import Message, Probe, Probes, ProbeScores
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_models.chat import Chat
from wardrobe_trainer import assess as module
from wardrobe_trainer import drafts, probes
from wardrobe_trainer.assess import assess, require_same_measure
from wardrobe_trainer.card import CARD_FILE, card
from wardrobe_trainer.comparison import Counts, Sums
from wardrobe_trainer.loading import load_base
from wardrobe_trainer.measuring import measure
from wardrobe_trainer.problems import TaskError
from wardrobe_trainer.reading import read_rows
from wardrobe_trainer.variants import Found, Measured, VariantOrder

MakeOrder = Callable[..., AssessConfig]


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, base_folder: Path, inspection: Inspection, cardiology: Path
) -> Path:
    return assessed.trained(tmp_path_factory.mktemp("run"), base_folder, inspection, cardiology)


@pytest.fixture
def order(trained: Path, base_folder: Path, inspection: Inspection, tmp_path: Path) -> MakeOrder:
    return partial(assessed.order, trained, base_folder, inspection, tmp_path)


@pytest.fixture(scope="module")
def everything(trained: Path) -> list[tuple[Assessment, Path]]:
    """The assessment on all variants, made by the first test that needs it."""
    return []


@pytest.fixture
def on_all(order: MakeOrder, everything: list[tuple[Assessment, Path]], trained: Path) -> tuple[Assessment, Path]:
    if not everything:
        line = trained / "line"
        config = order(variants=["NF4", "INT8", "None"], line_folder=str(line))
        everything.append((assess(config), line))
    return everything[0]


def artifact(assessment: Assessment, line: Path) -> tuple[Path, Manifest, Probes]:
    folder = line / assessment.digest.removeprefix("sha256:")
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    return folder, manifest, Probes.model_validate_json((folder / "probes.json").read_text())


def test_the_artifact(on_all: tuple[Assessment, Path], trained: Path) -> None:
    assessment, line = on_all
    folder, manifest, _ = artifact(assessment, line)
    names = {"adapter_config.json", "adapter_model.safetensors", "manifest.json", "probes.json"}
    assert {path.name for path in folder.iterdir()} == {*names, CARD_FILE}
    assert (folder / CARD_FILE).read_text() == card(manifest)
    assert {path.name for path in line.iterdir()} == {folder.name}
    digests = {name: sha256_file(folder / name) for name in ("adapter_config.json", "adapter_model.safetensors")}
    assert assessment.digest == of_files(digests) == manifest.digest
    assert manifest.files == {**digests, "probes.json": sha256_file(folder / "probes.json")}
    assert assessment.manifest_digest == sha256_file(folder / "manifest.json")
    assert assessment.size_bytes == sum((folder / name).stat().st_size for name in names)
    assert (assessment.rank, len(assessment.target_modules)) == (4, 7)
    candidate = trained / "1" / "adapter" / "adapter_model.safetensors"
    assert sha256_file(candidate) == digests["adapter_model.safetensors"]
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "tantanila-base"


def test_scores_on_every_variant(on_all: tuple[Assessment, Path]) -> None:
    evaluations = {item.variant: item for item in on_all[0].evaluations}
    assert list(evaluations) == [Variant.NONE, Variant.INT8, Variant.NF4]
    plain = evaluations[Variant.NONE]
    for item in evaluations.values():
        assert item.whole.candidate.loss < item.whole.base.loss - 0.1
        assert 0 < item.body.base.tokens < item.whole.base.tokens
        assert item.whole.base.loss == pytest.approx(plain.whole.base.loss, abs=0.1)
        assert item.whole.candidate.perplexity < item.whole.base.perplexity
    assert evaluations[Variant.NF4].whole.base.loss != plain.whole.base.loss


def test_probes_can_be_scored_again(on_all: tuple[Assessment, Path], chat: Chat, base_folder: Path) -> None:
    folder, _, recorded = artifact(*on_all)
    assert recorded.indistinguishable == on_all[0].indistinguishable == []
    assert on_all[0].probes == len(recorded.probes) >= 4
    model = PeftModel.from_pretrained(load_base(base_folder, Variant.NF4, Accelerator.CPU), folder).eval()
    for probe in recorded.probes[:3]:
        ids = chat.ids(probe.prompt + probe.completion)
        assert ids[: probe.prompt_tokens] == chat.ids(probe.prompt) == probe.prompt_ids
        assert ids[probe.prompt_tokens :] == probe.completion_ids
        assert len(ids) - probe.prompt_tokens == probe.completion_tokens
        assert probe.prompt.endswith("<|assistant|>\n")
        assert probe.messages is not None
        assert chat.render([message.model_dump() for message in probe.messages], prompt=True) == probe.prompt
        assert set(probe.scores) == {Variant.NONE, Variant.INT8, Variant.NF4}
        with torch.no_grad():
            logits = torch.log_softmax(model(torch.tensor([ids])).logits[0].float(), dim=-1)
        again = [float(logits[at - 1, ids[at]]) for at in range(probe.prompt_tokens, len(ids))]
        assert again == pytest.approx(probe.scores[Variant.NF4].adapter, abs=1e-3)


def test_probes_are_what_the_candidate_says(on_all: tuple[Assessment, Path], chat: Chat, base_folder: Path) -> None:
    """Greedy on the variant trained on: each token is the likeliest there (but for those that re-reading joined)."""
    folder, _, recorded = artifact(*on_all)
    model = PeftModel.from_pretrained(load_base(base_folder, Variant.NF4, Accelerator.CPU), folder).eval()
    likeliest = []
    for probe in recorded.probes:
        ids = torch.tensor(chat.ids(probe.prompt + probe.completion))
        with torch.no_grad():
            best = model(ids[None]).logits[0].argmax(dim=-1)
        likeliest.append(best[probe.prompt_tokens - 1 : -1] == ids[probe.prompt_tokens :])
    assert float(torch.cat(likeliest).float().mean()) > 0.95


def test_the_same_adapter_published_twice(
    on_all: tuple[Assessment, Path], order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assessment, line = on_all
    before = {path: path.stat().st_mtime_ns for path in line.rglob("*")}

    def never(*arguments: object) -> None:
        raise AssertionError("nothing is measured again")

    monkeypatch.setattr(module, "measure_all", never)
    assert assess(order(line_folder=str(line), run="cardiology-2-0001")) == assessment
    assert {path: path.stat().st_mtime_ns for path in line.rglob("*")} == before


def test_the_same_adapter_measured_on_other_data_is_refused_and_stays(
    on_all: tuple[Assessment, Path], order: MakeOrder
) -> None:
    """The scores that stand in the store are of other rows: the new adapter must not claim them."""
    _, line = on_all
    config = order(line_folder=str(line), run="cardiology-3-0001")
    grown = config.lineage.model_copy(update={"dataset_digest": f"sha256:{'9' * 64}"})
    before = {path: path.stat().st_mtime_ns for path in line.rglob("*")}
    with pytest.raises(TaskError, match="measured on another dataset, or other rows"):
        assess(config.model_copy(update={"lineage": grown}))
    assert {path: path.stat().st_mtime_ns for path in line.rglob("*")} == before


@pytest.mark.parametrize("changes", [{"heldout_rows": 7}, {"sequence_length": 48}])
def test_the_same_dataset_split_or_cut_otherwise_is_other_rows(
    on_all: tuple[Assessment, Path], order: MakeOrder, changes: dict[str, int]
) -> None:
    """As an import of what is there already may ask for it."""
    _, line = on_all
    config = order(line_folder=str(line), run="cardiology-3-0001")
    (published,) = (Manifest.model_validate_json(path.read_bytes()) for path in line.glob("*/manifest.json"))
    assert published.heldout_digest == config.heldout_digest
    rows = changes.get("heldout_rows", config.lineage.heldout_rows)
    length = changes.get("sequence_length", config.lineage.sequence_length)
    lineage = ImportLineage(
        job="again",
        job_uid="0001",
        adapter_source="run://cardiology-1-0000/1",
        adapter_digest=published.digest,
        dataset_source=config.lineage.dataset_source,
        dataset_digest=config.lineage.dataset_digest,
        heldout_rows=rows,
        lora=config.lineage.lora,
        sequence_length=length,
        seed=config.lineage.seed,
    )
    with pytest.raises(TaskError, match="or other rows of it"):
        require_same_measure(line, published.digest, config.model_copy(update={"lineage": lineage}))
    other = config.model_copy(update={"heldout_digest": f"sha256:{'8' * 64}"})
    with pytest.raises(TaskError, match="or other rows of it"):
        require_same_measure(line, published.digest, other)


def test_the_same_adapter_lacking_a_variant_is_refused(
    on_all: tuple[Assessment, Path], order: MakeOrder, tmp_path: Path
) -> None:
    line = Path(shutil.copytree(on_all[1], tmp_path / "line"))
    manifest = next(line.glob("*/manifest.json"))
    found = Manifest.model_validate_json(manifest.read_bytes())
    fewer = found.model_copy(update={"evaluations": found.evaluations[:1]})
    manifest.write_text(fewer.model_dump_json(by_alias=True))
    with pytest.raises(TaskError, match="measured without FP4, INT8, NF4"):
        assess(order(line_folder=str(line), variants=list(Variant)))


def test_a_damaged_artifact_in_the_place(on_all: tuple[Assessment, Path], order: MakeOrder, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(on_all[1], tmp_path / "line"))
    (next(copy.iterdir()) / "probes.json").write_text("{}")
    with pytest.raises(TaskError, match=r"probes\.json differ from the manifest"):
        assess(order())


@pytest.fixture
def weaker(trained: Path, tmp_path: Path) -> Path:
    """The candidate with half its effect."""
    folder = Path(shutil.copytree(trained / "1" / "adapter", tmp_path / "weaker"))
    tensors = load_file(folder / "adapter_model.safetensors")
    halved = {name: tensor / 2 if "lora_B" in name else tensor for name, tensor in tensors.items()}
    save_file(halved, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


GATE = [
    {"metric": "Loss", "against": "Incumbent", "max_regression": 0.02},
    {"metric": "Loss", "against": "Base", "max_regression": 0},
]


def test_a_version_worse_than_what_answers_is_published_rejected_and_its_scores_are_kept(
    on_all: tuple[Assessment, Path],
    order: MakeOrder,
    weaker: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    before, line = on_all
    incumbent = {"name": "cardiology-v1", "digest": before.digest}
    common = {"candidate_folder": str(weaker), "scores_folder": str(tmp_path / "scores"), "max_rows": 4}

    def judged(at: Path, **where: str) -> tuple[Assessment, Manifest]:
        found = assess(order(**common, line_folder=str(at), incumbents=[incumbent | where], gate=GATE))
        return found, artifact(found, at)[1]

    found, manifest = judged(Path(shutil.copytree(line, tmp_path / "first")))
    assert found.verdict is manifest.verdict is Verdict.REJECTED
    assert [rule.outcome for rule in found.gate] == [Outcome.FAILED, Outcome.PASSED]
    assert found.gate == manifest.gate
    [plain] = found.evaluations
    [answers] = plain.incumbents
    assert (answers.name, answers.digest) == ("cardiology-v1", before.digest)
    assert answers.whole.loss < plain.whole.candidate.loss < plain.whole.base.loss
    assert answers.whole.tokens == plain.whole.base.tokens
    assert answers.whole_difference.low > 0
    assert found.evaluated_rows == manifest.evaluated_rows == 4
    assert len(list((tmp_path / "scores").iterdir())) == 3
    assert "are kept from before" not in capfd.readouterr().out
    elsewhere = shutil.copytree(line / before.digest.removeprefix("sha256:"), tmp_path / "promoted")
    again, _ = judged(tmp_path / "second", folder=str(elsewhere))
    assert again == found
    assert capfd.readouterr().out.count("are kept from before") == 3


def test_an_incumbent_whose_files_are_gone(order: MakeOrder, weaker: Path) -> None:
    gone = {"name": "cardiology-v9", "digest": f"sha256:{'9' * 64}"}
    found = assess(order(candidate_folder=str(weaker), max_rows=2, incumbents=[gone], gate=GATE))
    assert found.verdict is Verdict.REJECTED
    assert found.gate[0].message == "cardiology-v9 cannot be measured: manifest.json is missing"
    assert found.evaluations[0].incumbents == []


def test_the_same_adapter_again_is_held_against_what_this_run_asks_for(
    on_all: tuple[Assessment, Path], order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers by now, so that it has to be measured beside itself, on the variants that its probes are of."""
    before, line = on_all
    one = Sums(whole=[3.0], body=[2.0])
    found = Measured(
        counts=Counts(whole=[2], body=[1]),
        base=one,
        candidate=one,
        incumbents={before.digest: one},
        drafts=[],
        probe_scores=[ProbeScores(base=[-1.0], adapter=[-3.0])],
    )
    asked: list[list[Variant]] = []

    def measured(config: AssessConfig, candidate: str) -> Found:
        asked.append(config.variants)
        return Found(dict.fromkeys(config.variants, found))

    monkeypatch.setattr(module, "measure_all", measured)
    itself = {"name": "cardiology-v1", "digest": before.digest}
    strict = {"metric": "Perplexity", "against": "Incumbent", "max_regression": 0}
    again = assess(order(line_folder=str(line), incumbents=[itself], gate=[strict], run="cardiology-4-0001"))
    assert (again.digest, again.manifest_digest) == (before.digest, before.manifest_digest)
    assert asked == [[Variant.NONE, Variant.INT8, Variant.NF4]]
    assert again.verdict is Verdict.ACCEPTED
    assert [rule.regression for rule in again.gate] == [0]


def refusal(config: AssessConfig) -> TaskError:
    with pytest.raises(TaskError) as caught:
        assess(config)
    assert not list(Path(config.line_folder).glob("*"))
    return caught.value


def test_an_adapter_of_another_base(order: MakeOrder, trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained / "1" / "adapter", tmp_path / "adapter"))
    tensors = load_file(folder / "adapter_model.safetensors")
    key = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"
    save_file(tensors | {key: torch.ones(4, 1024)}, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    error = refusal(order(candidate_folder=str(folder)))
    assert (error.code, error.reason) == (ExitCode.BAD_ADAPTER, Reason.ADAPTER_INVALID)
    assert "(1024, 256) input and output features, on this base it has (768, 256)" in error.problem.rule


def test_an_adapter_that_makes_scores_no_numbers(order: MakeOrder, trained: Path, tmp_path: Path) -> None:
    """Each of its values is a number; what they make of an answer is none."""
    folder = Path(shutil.copytree(trained / "1" / "adapter", tmp_path / "adapter"))
    tensors = load_file(folder / "adapter_model.safetensors")
    large = {name: tensor * 1e30 for name, tensor in tensors.items()}
    save_file(large, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    error = refusal(order(candidate_folder=str(folder)))
    assert (error.code, error.reason) == (ExitCode.BAD_ADAPTER, Reason.ADAPTER_INVALID)
    assert "no numbers" in error.problem.rule


def test_a_missing_candidate(order: MakeOrder, tmp_path: Path) -> None:
    assert refusal(order(candidate_folder=str(tmp_path / "none"))).code is ExitCode.BAD_ADAPTER


def test_another_base_than_inspected(order: MakeOrder, base_folder: Path) -> None:
    other = {"folder": str(base_folder), "fingerprint": "sha256:" + "0" * 64}
    assert refusal(order(base=other)).reason is Reason.BASE_CHANGED


@pytest.mark.parametrize("name", ["heldout.jsonl", "heldout.tokens", "result.json"])
def test_the_checks_output_is_gone_or_changed(order: MakeOrder, trained: Path, tmp_path: Path, name: str) -> None:
    data = Path(shutil.copytree(trained / "check", tmp_path / "check"))
    (data / name).write_text("{}")
    older = {"heldout_tokens_digest": None} if name == "result.json" else {}  # which alone is asked for the frame
    error = refusal(order(data_folder=str(data), **older))
    assert (error.code, error.reason) == (ExitCode.BAD_DATA, Reason.DATA_CHANGED)


def test_sigterm_leaves_nothing_behind(order: MakeOrder, tmp_path: Path) -> None:
    config = order(variants=["None", "INT8", "NF4"])
    Path(config.line_folder).mkdir()
    environment = {
        **os.environ,
        "WARDROBE_CONFIG": config.model_dump_json(by_alias=True),
        "WARDROBE_TERMINATION_LOG": str(tmp_path / "log"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "wardrobe_trainer", "assess"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "candidate sha256:" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=HANG)
    assert process.returncode == ExitCode.PREEMPTED
    assert list(Path(config.line_folder).iterdir()) == []
    assert Result.model_validate_json((tmp_path / "assess" / RESULT_FILE).read_text()).reason is Reason.TERMINATED


def test_scores_too_much_alike_are_said() -> None:
    question = drafts.Question(messages=[{"role": "user", "content": "Why?"}], prompt="p")
    draft = drafts.Draft(question=question, completion="c", prompt_tokens=1, ids=[1, 2, 3])
    near, far = ProbeScores(base=[-1.0, -2.0], adapter=[-1.05, -1.95]), ProbeScores(base=[-9.0, -9.0], adapter=[0, -1])
    scores = {Variant.NONE: [far], Variant.NF4: [near]}
    digest = "sha256:" + "0" * 64
    found = drafts.assemble([draft], scores, adapter=digest, base=digest, seed=7)
    assert found.indistinguishable == [Variant.NF4]
    both = {Variant.NONE: far, Variant.NF4: near}
    assert found.probes == [
        Probe(
            prompt="p",
            prompt_tokens=1,
            completion="c",
            completion_tokens=2,
            prompt_ids=[1],
            completion_ids=[2, 3],
            scores=both,
            messages=[Message(role="user", content="Why?")],
        )
    ]


def test_scores_that_only_some_engines_could_tell_apart_are_too_much_alike() -> None:
    effect = [0.2] * 10
    own = ENGINES[EngineType.TRANSFORMERS].tolerance(Variant.NONE, Precision.FLOAT32)
    assert own.distinguishes(effect)
    assert not drafts.provable(Variant.NONE, [ProbeScores(base=[0.0] * 10, adapter=effect)])


def test_completions_that_do_not_survive_as_text_are_no_probes(chat: Chat) -> None:
    question = probes.ask(chat, [{"role": "user", "content": "Why?"}])
    assert question.prompt == "<|user|>\nWhy?<|end|>\n<|assistant|>\n"
    assert probes.make_draft(chat, question, "") is None
    assert probes.make_draft(chat, question, "\ufffd") is None
    made = probes.make_draft(chat, question, "Because\ufffd")
    assert made is not None
    assert made.completion == "Because"
    assert probes.passage_of(made).positions[0] == made.prompt_tokens == len(chat.ids(question.prompt))


def test_the_same_prompts_are_chosen_every_time(chat: Chat, cardiology: Path) -> None:
    rows = read_rows(cardiology, "x")[:60]
    chosen = probes.choose(chat, rows, 7, 1024)
    assert len({question.prompt for question in chosen}) == probes.COUNT
    assert probes.choose(chat, rows[::-1], 7, 1024) == chosen
    assert probes.choose(chat, iter(rows), 7, 1024) == chosen
    assert probes.choose(chat, rows, 8, 1024) != chosen
    assert probes.choose(chat, rows, 7, probes.COMPLETION_TOKENS) == []


def test_a_candidate_that_says_nothing(order: MakeOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "complete", lambda *arguments: "")
    with pytest.raises(TaskError, match="answers none of"):
        measure(VariantOrder(config=order(max_rows=1), variant=Variant.NONE, candidate=f"sha256:{'0' * 64}"))
