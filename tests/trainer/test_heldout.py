"""What is held out: a file of its own, and the tokens that the check leaves of it for those who measure."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.check import CheckConfig, CheckReport, Frame
from wardrobe_contracts.digests import fingerprint, sha256_file
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.inspection import Inspection
from wardrobe_contracts.remote import S3File
from wardrobe_models.chat import Chat
from wardrobe_trainer import abreast
from wardrobe_trainer.check import Source, brought, check
from wardrobe_trainer.dataset import TEXT, Row
from wardrobe_trainer.evaluate import as_checked, prepare
from wardrobe_trainer.heldout import measured_rows
from wardrobe_trainer.index import Side
from wardrobe_trainer.intake import keep, sides, take_in
from wardrobe_trainer.model_files import model_files
from wardrobe_trainer.probes import question_of
from wardrobe_trainer.problems import TaskError
from wardrobe_trainer.reading import DataFile, read_rows
from wardrobe_trainer.sources.faults import Asked
from wardrobe_trainer.token_file import TokenFile

from .test_tokens import THINKING, with_template

MakeRow = Callable[..., str]
Run = Callable[..., CheckReport]
FIELD = "spec.dataset.validation.source"


@pytest.fixture
def run(base_folder: Path, inspection: Inspection, tmp_path: Path) -> Run:
    """Check lines to train on and lines to hold out."""

    def run_check(train: list[str], heldout: list[str], **changes: Any) -> CheckReport:
        (tmp_path / "train.jsonl").write_text("\n".join(train))
        (tmp_path / "test.jsonl").write_text("\n".join(heldout))
        order = {
            "base": {"folder": str(base_folder), "fingerprint": inspection.fingerprint},
            "dataset_file": str(tmp_path / "train.jsonl"),
            "source": "pvc://data/train.jsonl",
            "validation": {"dataset_file": str(tmp_path / "test.jsonl"), "source": "pvc://data/test.jsonl"},
            "sequence_length": 512,
            "seed": 7,
            "output_folder": str(tmp_path / "out"),
        }
        return check(CheckConfig.model_validate(order | changes))

    return run_check


@pytest.fixture
def train(row: MakeRow) -> list[str]:
    return [row(f"What is condition {number}?", f"It is illness {number} of the heart.") for number in range(40)]


@pytest.fixture
def heldout(row: MakeRow) -> list[str]:
    return [row(f"Where is ward {number}?", f"Ward {number} is on floor {number % 7}.") for number in range(12)]


def written(tmp_path: Path, name: str) -> list[str]:
    return (tmp_path / "out" / name).read_text().splitlines()


def test_a_file_of_its_own_is_held_out_whole_and_nothing_else_is(
    run: Run, train: list[str], heldout: list[str], tmp_path: Path
) -> None:
    report = run(train, heldout)
    assert (written(tmp_path, "train.jsonl"), written(tmp_path, "heldout.jsonl")) == (train, heldout)
    assert (report.rows, report.train_rows, report.heldout_rows) == (52, 40, 12)
    assert report.dataset_digest == sha256_file(tmp_path / "train.jsonl")
    assert report.validation_digest == sha256_file(tmp_path / "test.jsonl")
    assert not any("asked for" in warning for warning in report.warnings), "nobody asked for a share"
    assert any("12 held-out rows are few" in warning for warning in report.warnings)


@pytest.mark.parametrize("level", ["Warn", "Off"])
def test_what_is_held_out_is_not_trained_on(
    run: Run, row: MakeRow, train: list[str], heldout: list[str], *, tmp_path: Path, level: str
) -> None:
    """The very row, and one that asks the same in other letters and is told otherwise, whatever the rule's level."""
    asked = row("where is  WARD 3?", "Nobody knows.")
    report = run([heldout[5], asked, *train], heldout, rules={"nearCopies": {"level": level}})
    assert written(tmp_path, "train.jsonl") == train
    assert written(tmp_path, "heldout.jsonl") == heldout
    assert (report.left_out_rows, report.train_rows) == (2, 40)
    assert len(TokenFile(tmp_path / "out" / "train.tokens")) == 40
    if level == "Warn":
        [finding] = [found for found in report.findings if found.rule == "nearCopies"]
        assert (finding.rows, finding.validation_rows) == ([1, 2], [])


def test_a_near_copy_of_a_held_out_row_is_left_out(
    run: Run, row: MakeRow, train: list[str], heldout: list[str], tmp_path: Path
) -> None:
    words = [f"word{number}" for number in range(80)]
    copy = row("Tell me something else", " ".join([*words[:40], "other", *words[41:]]))
    report = run([*train, copy], [*heldout, row("Tell me", " ".join(words))])
    assert report.left_out_rows == 1
    assert copy not in written(tmp_path, "train.jsonl")


def test_held_out_rows_made_of_rows_to_train_on_are_told(
    run: Run, row: MakeRow, train: list[str], heldout: list[str]
) -> None:
    words = [f"word{number}" for number in range(400)]
    passages = [" ".join(words[place : place + 100]) for place in range(0, 400, 100)]
    train += [row(f"Part {place}", passage) for place, passage in enumerate(passages)]
    report = run(train, [*heldout, row("All of it", " ".join(passages[:2]))], rules={"leakage": {"threshold": 0}})
    [finding] = [found for found in report.findings if found.rule == "leakage"]
    assert (finding.rows, finding.validation_rows) == ([], [13])


def test_rows_of_both_files_are_told_apart(run: Run, row: MakeRow, train: list[str], heldout: list[str]) -> None:
    secret = row("Who?", "The password: hunter22x")
    with pytest.raises(TaskError) as caught:
        run([*train, secret.replace("Who", "When")], [secret, *heldout])
    assert caught.value.reason is Reason.RULE_BROKEN
    assert "(rows 41 and rows 1 of the validation source)" in caught.value.problem.rule


@pytest.mark.parametrize(
    ("wrong", "reason", "said"),
    [
        ([], Reason.DATASET_EMPTY, "no row"),
        (["{"], Reason.DATASET_MALFORMED, "row 1: no JSON"),
        ([json.dumps({"messages": [{"role": "user", "content": "x"}]})], Reason.ROLES_INVALID, "row 1: the roles"),
    ],
)
def test_what_is_wrong_with_the_held_out_file(
    run: Run, train: list[str], wrong: list[str], reason: Reason, said: str
) -> None:
    with pytest.raises(TaskError) as caught:
        run(train, wrong)
    assert (caught.value.code, caught.value.reason) == (ExitCode.BAD_DATA, reason)
    assert caught.value.problem.field == FIELD
    assert said in str(caught.value)


def test_a_held_out_file_that_is_not_there(run: Run, train: list[str], heldout: list[str], tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="there is no such file") as caught:
        run(train, heldout, validation={"dataset_file": str(tmp_path / "none"), "source": "pvc://data/none"})
    assert (caught.value.problem.field, caught.value.problem.value) == (FIELD, "pvc://data/none")


def test_a_held_out_file_that_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials and endpoint are those of both files; the source is its own."""
    monkeypatch.setattr("wardrobe_trainer.check.fetch", not_there)
    data = DataFile(tmp_path / "fetched", "s3://hospital/x.jsonl", field=FIELD)
    with pytest.raises(TaskError) as caught:
        brought(Source(data, S3File(bucket="hospital", key="x.jsonl")))
    assert (caught.value.problem.field, caught.value.problem.value) == (FIELD, "s3://hospital/x.jsonl")


def not_there(remote: object, target: Path, asked: Asked) -> None:
    raise asked.not_found("there is no such key in the bucket", "Correct it")


def test_a_held_out_file_of_the_same_rows(run: Run, train: list[str]) -> None:
    with pytest.raises(TaskError) as caught:
        run(train, train)
    assert (caught.value.reason, caught.value.problem.field) == (Reason.SPLIT_EMPTY, FIELD)
    assert "no training row is left: 40 training rows are near copies" in caught.value.problem.rule


def test_one_way_to_hold_out_must_be_given(run: Run, train: list[str], heldout: list[str]) -> None:
    with pytest.raises(ValueError, match="one of the two must be given"):
        run(train, heldout, validation_fraction=0.2)
    with pytest.raises(ValueError, match="one of the two must be given"):
        run(train, heldout, validation=None)


WORDS = st.lists(st.sampled_from(["heart", "Ünder", "lung", " ", "why?", "Greetings", "bye", "\n"]), max_size=12)
SAID = WORDS.map(" ".join).filter(lambda text: bool(text.strip()))
FRAMES = st.sampled_from([Frame(), Frame(opening="Greetings"), Frame(opening="heart", closing="bye")])
KIND = st.lists(st.tuples(SAID, SAID), min_size=1, max_size=3) | SAID


def as_line(kind: list[tuple[str, str]] | str) -> str:
    if isinstance(kind, str):
        return json.dumps({"text": kind})
    turns = [({"role": "user", "content": one}, {"role": "assistant", "content": other}) for one, other in kind]
    return json.dumps({"messages": [message for turn in turns for message in turn]})


@settings(deadline=None)
@given(
    rows=st.lists(KIND, min_size=1, max_size=12),
    frame=FRAMES,
    length=st.integers(3, 60),
    template=st.sampled_from(["", THINKING]),
)
def test_tokens_that_the_check_leaves_are_what_would_be_made_of_the_rows(
    chat: Chat, rows: list[list[tuple[str, str]] | str], frame: Frame, length: int, template: str
) -> None:
    """Tokens, labels and bodies, whatever is cut off, of rows that stay; of one example each, or of one an answer."""
    chat = with_template(chat, template) if template else chat
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train").write_text(as_line("to train on, and so long that some of it stays"))
        (folder / "test").write_text("\n".join(as_line(kind) for kind in rows))
        config = order(folder, length)
        files = [DataFile(folder / "train", "x"), DataFile(folder / "test", "x")]
        table = take_in(config, chat, files, folder).table
        with sides(folder / "out") as into:
            keep(folder, table, frame, into)
        kept = read_rows(folder / "out" / "heldout.jsonl", "x") if table.count(Side.HELDOUT) else []
        tokens = TokenFile(folder / "out" / "heldout.tokens")
        assert as_checked(tokens, range(len(kept))) == prepare(chat, kept, frame, length)
        for place in range(len(kept)):
            assert as_checked(tokens, [place]) == prepare(chat, [kept[place]], frame, length)


def order(folder: Path, length: int) -> CheckConfig:
    values: dict[str, Any] = {"base": {"folder": "", "fingerprint": "sha256:" + "0" * 64}, "source": "x", "seed": 7}
    values |= {"dataset_file": str(folder / "train"), "output_folder": str(folder / "out"), "sequence_length": length}
    return CheckConfig.model_validate(values | {"validation": {"dataset_file": str(folder / "test"), "source": "x"}})


def asking(folder: Path, report: CheckReport, most: int = 100) -> AssessConfig:
    return AssessConfig.model_construct(
        data_folder=str(folder),
        max_rows=most,
        heldout_digest=report.heldout_digest,
        heldout_tokens_digest=report.heldout_tokens_digest,
    )


def test_measured_rows_come_from_the_tokens_without_a_tokenizer(
    run: Run, chat: Chat, train: list[str], heldout: list[str], *, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, folder = run(train, heldout), tmp_path / "out"
    rows = read_rows(folder / "heldout.jsonl", "x")
    wanted = prepare(chat, rows, report.frame, 512)

    def refused(*_: object) -> None:
        raise AssertionError("tokenised again")

    monkeypatch.setattr(Chat, "all_ids", refused)
    assert measured_rows(chat, asking(folder, report)) == wanted
    few = measured_rows(chat, asking(folder, report, most=5))
    assert len(few) == 5
    assert all(one in wanted for one in few)


def test_other_tokens_than_the_check_left_are_refused(
    run: Run, chat: Chat, train: list[str], heldout: list[str], tmp_path: Path
) -> None:
    report, path = run(train, heldout), tmp_path / "out" / "heldout.tokens"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(TaskError, match=r"heldout\.tokens is") as caught:
        measured_rows(chat, asking(tmp_path / "out", report))
    assert caught.value.reason is Reason.DATA_CHANGED


def test_texts_go_the_same_way(run: Run, tmp_path: Path) -> None:
    texts = [json.dumps({"text": f"Passage {number}: the ward is on floor {number}."}) for number in range(30)]
    report = run(texts[:20], texts[20:], rules={"nearCopies": {"level": "Off"}})
    assert (report.train_rows, report.heldout_rows, report.train_examples) == (20, 10, 20)
    assert report.label_density > 0.9
    assert written(tmp_path, "train.jsonl") == texts[:20]
    assert report.conflicting_prompts == 0
    assert {found.rule for found in report.findings} <= {"trainingRows", "heldoutRows"}


def test_where_each_answer_is_an_example_of_its_own_they_are_counted(
    run: Run, row: MakeRow, model_copy: Path, tmp_path: Path
) -> None:
    (model_copy / "chat_template.jinja").write_text(THINKING)
    order = {"base": {"folder": str(model_copy), "fingerprint": fingerprint(model_copy, model_files(model_copy))}}
    turns = [json.loads(row(f"Where is ward {number}?", f"On floor {number}."))["messages"] for number in range(60)]
    two = [json.dumps({"messages": [*turns[place], *turns[place + 1]]}) for place in range(0, 60, 2)]
    report = run(two[:20], two[20:], rules={"nearCopies": {"level": "Off"}}, **order)
    assert (report.train_rows, report.heldout_rows, report.train_examples) == (20, 10, 40)
    assert len(TokenFile(tmp_path / "out" / "train.tokens")) == 40
    assert len(TokenFile(tmp_path / "out" / "heldout.tokens")) == 20


def test_a_text_is_asked_for_by_its_beginning() -> None:
    text = Row(1, [{"role": TEXT, "content": " ".join(f"word{number}" for number in range(40))}], "")
    [question] = question_of(text)
    assert question == {"role": "user", "content": " ".join(f"word{number}" for number in range(12))}


def test_several_processes_find_what_one_does(
    run: Run, cardiology: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = cardiology.read_text().splitlines()
    assert len(lines) > abreast.ALONE * abreast.BATCH
    reports, files = [], []
    for processes in (1, 2):
        monkeypatch.setattr("wardrobe_models.processors.granted", lambda processes=processes: processes)
        reports.append(run(lines[:450], lines[450:]))
        files.append([sha256_file(path) for path in sorted((tmp_path / "out").iterdir())])
    assert reports[0] == reports[1]
    assert files[0] == files[1]
