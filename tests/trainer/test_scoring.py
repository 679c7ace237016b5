"""Scores do not depend on batches, padding or order, and a body is exactly what lies within the frame."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel, get_peft_model

from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_contracts.check import Frame
from wardrobe_contracts.exits import Reason
from wardrobe_contracts.manifest import Evaluation, Score
from wardrobe_contracts.training import Lora
from wardrobe_models.chat import Chat
from wardrobe_trainer.comparison import Counts, Sums, compare
from wardrobe_trainer.dataset import Row
from wardrobe_trainer.evaluate import HeldOut, counts, prepare, sums
from wardrobe_trainer.framing import find_frame
from wardrobe_trainer.loading import load_base
from wardrobe_trainer.lora import lora_config
from wardrobe_trainer.problems import TaskError
from wardrobe_trainer.reading import read_rows
from wardrobe_trainer.scoring import base_and_candidate, base_scores, batches, log_probabilities
from wardrobe_trainer.tokens import encode


@pytest.fixture(scope="module")
def model(base_folder: Path) -> PeftModel:
    """The real base with an adapter that does something, at random."""
    torch.manual_seed(0)
    lora = Lora(rank=2, alpha=4, dropout=0, target_modules=["all-linear"])
    wrapped = get_peft_model(load_base(base_folder, Variant.NONE, Accelerator.CPU), lora_config(lora))
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return wrapped.eval()


@pytest.fixture(scope="module")
def rows(cardiology: Path) -> list[Row]:
    return read_rows(cardiology, "x")[:6]


@given(lengths=st.lists(st.integers(1, 50), max_size=40), limit=st.integers(1, 200))
def test_batches_hold_every_row_once_within_the_limit(lengths: list[int], limit: int) -> None:
    groups = list(batches(lengths, limit))
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or max(lengths[index] for index in group) * len(group) <= limit


def test_a_row_scores_the_same_alone_and_among_longer_ones(model: PeftModel, chat: Chat, rows: list[Row]) -> None:
    passages = [item.passage for item in prepare(chat, rows, Frame(), 512)]
    assert len({len(passage.ids) for passage in passages}) > 1
    assert len(list(batches([len(passage.ids) for passage in passages]))) == 1
    for passage, batched in zip(passages, log_probabilities(model, passages), strict=True):
        [alone] = log_probabilities(model, [passage])
        torch.testing.assert_close(alone, batched, atol=2e-5, rtol=0)


def test_scores_are_those_of_the_models_own_loss(model: PeftModel, chat: Chat, rows: list[Row]) -> None:
    for row, item in zip(rows, prepare(chat, rows, Frame(), 512), strict=True):
        [encoded] = encode(chat, row.messages)
        with torch.no_grad():
            output = model(input_ids=torch.tensor([encoded.ids]), labels=torch.tensor([encoded.labels]))
        found = log_probabilities(model, [item.passage])[0]
        assert -float(found.mean()) == pytest.approx(float(output.loss), abs=1e-5)
        assert len(found) == encoded.label_tokens


def evaluated(model: PeftModel, held: list[HeldOut]) -> Evaluation:
    base, candidate = base_and_candidate(model, [item.passage for item in held])
    return compare(Variant.NONE, counts(held), sums(base, held), sums(candidate, held))


def test_base_and_candidate_are_told_apart(model: PeftModel, chat: Chat, rows: list[Row], base_folder: Path) -> None:
    held = prepare(chat, rows, find_frame([row.answer for row in rows]), 512)
    found = evaluated(model, held)
    plain = load_base(base_folder, Variant.NONE, Accelerator.CPU)
    alone = log_probabilities(plain, [item.passage for item in held])
    assert -sum(float(row.sum()) for row in alone) / found.whole.base.tokens == pytest.approx(
        found.whole.base.loss, abs=1e-4
    )
    assert found.whole.candidate != found.whole.base
    assert found.body.base.tokens < found.whole.base.tokens == sum(len(item.body) for item in held)
    assert found.body.base.loss < found.whole.base.loss


def test_a_base_whose_scores_are_no_numbers(chat: Chat, rows: list[Row], base_folder: Path) -> None:
    base = load_base(base_folder, Variant.NONE, Accelerator.CPU)
    next(base.parameters()).data.fill_(math.inf)
    lora = Lora(rank=2, alpha=4, dropout=0, target_modules=["all-linear"])
    with pytest.raises(TaskError, match="no numbers") as caught:
        base_scores(get_peft_model(base, lora_config(lora)), [prepare(chat, rows[:1], Frame(), 64)[0].passage])
    assert caught.value.reason is Reason.BASE_MALFORMED


def test_the_mean_is_over_tokens_not_rows() -> None:
    scores = Sums(whole=[1.0, 9.0], body=[1.0, 4.0])
    found = compare(Variant.NONE, Counts(whole=[1, 3], body=[1, 2]), scores, scores)
    assert found.body.base == Score(loss=round(5 / 3, 4), perplexity=round(math.exp(5 / 3), 2), tokens=3)
    assert found.whole.base.loss == 2.5


def body_text(chat: Chat, row: Row, frame: Frame, length: int = 512) -> str:
    item = prepare(chat, [row], frame, length)[0]
    chosen = [item.passage.ids[at] for at, body in zip(item.passage.positions, item.body, strict=True) if body]
    return str(chat.tokenizer.decode(chosen))


def test_the_body_of_real_answers(chat: Chat, rows: list[Row]) -> None:
    frame = find_frame([row.answer for row in rows])
    for row in rows:
        wanted = row.answer.removeprefix(frame.opening).removesuffix(frame.closing).strip()
        assert body_text(chat, row, frame).strip() == wanted


def made(*messages: tuple[str, str]) -> Row:
    return Row(1, [{"role": role, "content": content} for role, content in messages], "")


FRAME = Frame(opening="Good day.", closing="Be well.")


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        ("Good day. Rest a lot. Be well.", "Rest a lot."),
        ("Rest a lot. Be well.", "Rest a lot."),
        ("Good day. Rest a lot.", "Rest a lot.<|end|>"),
        ("Rest a lot.", "Rest a lot.<|end|>"),
        ("Good day. Be well.", ""),
        ("Good day. Bénédiction… ☺ Be well.", "Bénédiction… ☺"),
    ],
)
def test_the_body_within_a_frame(chat: Chat, answer: str, body: str) -> None:
    assert body_text(chat, made(("user", "Good day. Be well."), ("assistant", answer)), FRAME).strip() == body


def test_the_body_of_every_answer_of_a_conversation(chat: Chat) -> None:
    turns = (("assistant", "Good day. Rest. Be well."), ("user", "Rest?"), ("assistant", "Good day. Yes. Be well."))
    assert body_text(chat, made(("user", "Rest."), *turns), FRAME) == " Rest. Yes."


def test_a_truncated_answer(chat: Chat) -> None:
    row = made(("user", "Why?"), ("assistant", "Good day. Rest a lot. Be well."))
    whole = prepare(chat, [row], FRAME, 512)[0]
    cut = prepare(chat, [row], FRAME, whole.passage.positions[0] + 3)[0]
    assert cut.passage.positions == whole.passage.positions[:3]
    assert cut.body == whole.body[:3]


def test_answers_that_are_all_frame_are_scored_whole(model: PeftModel, chat: Chat) -> None:
    held = prepare(chat, [made(("user", "Why?"), ("assistant", "Good day. Be well."))], FRAME, 512)
    found = evaluated(model, held)
    assert found.body == found.whole
