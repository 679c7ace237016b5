"""Rows of a batch are what each would be alone, and adapters are what PEFT makes of them."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_engine import adapter_files
from wardrobe_engine.cache import Batch, Prefilled
from wardrobe_engine.loading import load
from wardrobe_engine.lora import BASE_SLOT
from wardrobe_engine.model import Model
from wardrobe_engine.prefill import take_in
from wardrobe_models.loading import load_base

from .conftest import MODEL

TOLERANCE = {Variant.NONE: 2e-4, Variant.NF4: 2e-4, Variant.FP4: 2e-4, Variant.INT8: 0.6}
"""Of logits, whose standard deviation is about 2.

LLM.int8 rounds activations to 8 bits and chooses outlier columns by all rows it is given: the last bit of a float, or
a neighbour in the batch, can move a logit by a step.
"""
PROMPTS = ([10, 20, 30, 40, 50], [11, 12], [9] * 17, [400, 300, 200, 100, 77, 78, 79, 80])


@functools.cache
def model(variant: Variant) -> Model:
    return Model(load(MODEL, variant))


def read(model: Model, folder: Path) -> adapter_files.AdapterWeights:
    return adapter_files.read(folder, (str(MODEL),), model.features)


@pytest.fixture(params=list(Variant))
def variant(request: pytest.FixtureRequest) -> Variant:
    chosen: Variant = request.param
    return chosen


@pytest.fixture
def slots(variant: Variant, adapters: dict[str, Path]) -> Iterator[list[int]]:
    """The base and the adapters."""
    own = model(variant)
    added = [own.add(read(own, folder)) for folder in adapters.values()]
    yield [BASE_SLOT, *added]
    for slot in added:
        own.remove(slot)


def test_rows_that_join_and_leave_are_what_each_is_alone(variant: Variant, slots: list[int]) -> None:
    own, batch = model(variant), Batch(model(variant).device)
    texts: list[list[int]] = []
    with torch.inference_mode():
        for turn in range(12):
            if turn % 3 == 0:
                texts.append(list(PROMPTS[turn // 3]))
                logits, cache = own.prefill(texts[-1], slots[turn // 3], every_position=False)
                texts[-1].append(int(logits[-1].argmax()))
                batch.join([Prefilled(cache, len(texts[-1]) - 1, texts[-1][-1], slots[turn // 3])])
            if turn == 8:
                batch.keep([0, 2])
                del texts[1]
            logits = own.decode(batch)
            for row, text in enumerate(texts):
                alone, _ = own.prefill(text, batch.slots[row], every_position=True)
                assert torch.allclose(logits[row], alone[-1], atol=TOLERANCE[variant])
                text.append(int(logits[row].argmax()))
            batch.advance([text[-1] for text in texts])
    assert batch.lengths == [len(text) - 1 for text in texts]
    assert batch.mask.shape[1] == max(batch.lengths)


def test_adapters_are_what_peft_makes_of_them(variant: Variant, slots: list[int], adapters: dict[str, Path]) -> None:
    first, *others = adapters.items()
    peft = PeftModel.from_pretrained(load_base(MODEL, variant, Accelerator.CPU), first[1], adapter_name="0")
    for number, (_, folder) in enumerate(others, 1):
        peft.load_adapter(folder, adapter_name=str(number))
    with torch.inference_mode():
        for prompt in PROMPTS:
            for slot, name in zip(slots, ("__base__", "0", "1", "2"), strict=True):
                expected = peft(input_ids=torch.tensor([prompt]), adapter_names=[name]).logits[0]
                found, _ = model(variant).prefill(prompt, slot, every_position=True)
                assert torch.allclose(found, expected, atol=TOLERANCE[variant])


def test_a_batch_is_pefts_mixed_batch(adapters: dict[str, Path]) -> None:
    own = Model(load(MODEL, Variant.NONE))
    names = ["0", "__base__", "1", "0"]
    slot = {"__base__": BASE_SLOT}
    peft = None
    for name, folder in zip(("0", "1"), adapters.values(), strict=False):
        slot[name] = own.add(read(own, folder))
        if peft is None:
            peft = PeftModel.from_pretrained(load_base(MODEL, Variant.NONE, Accelerator.CPU), folder, adapter_name=name)
        else:
            peft.load_adapter(folder, adapter_name=name)
    assert peft is not None
    batch = Batch(own.device)
    prompts = [[5 + row, 6, 7, 8] for row in range(4)]
    with torch.inference_mode():
        for prompt, name in zip(prompts, names, strict=True):
            _, cache = own.prefill(prompt[:-1], slot[name], every_position=False)
            batch.join([Prefilled(cache, 3, prompt[-1], slot[name])])
        expected = peft(input_ids=torch.tensor(prompts), adapter_names=names).logits[:, -1]
        assert torch.allclose(own.decode(batch), expected, atol=2e-4)
    assert not torch.allclose(expected[0], expected[3], atol=0.1)


def test_a_prompt_taken_in_by_pieces_is_what_it_is_whole() -> None:
    own = Model(load(MODEL, Variant.NONE))
    passes: list[int] = []
    for prompt in ([4, 5], [*range(10, 17)], [*range(10, 18)], [*range(20, 60)]):
        with torch.inference_mode():
            whole, _ = own.prefill(prompt, BASE_SLOT, every_position=True)
            last, scores, cache = take_in(own, prompt, BASE_SLOT, lambda: passes.append(1), scored=True, limit=7)
        assert torch.allclose(last[0], whole[-1], atol=2e-4)
        expected = whole[:-1].log_softmax(-1)[torch.arange(len(prompt) - 1), prompt[1:]]
        assert scores == pytest.approx(expected.tolist(), abs=1e-4)
        assert cache.get_seq_length() == len(prompt)
        assert last.untyped_storage().nbytes() == last.nbytes
    assert len(passes) == 1 + 1 + 2 + 6


def test_a_freed_slot_answers_as_the_base_and_is_used_again(adapters: dict[str, Path]) -> None:
    own = Model(load(MODEL, Variant.NONE))
    every, few = (read(own, adapters[name]) for name in ("cardiology-v1.2", "renal-v1"))
    with torch.inference_mode():
        base, _ = own.prefill([1, 2, 3], BASE_SLOT, every_position=True)
        alone = Model(load(MODEL, Variant.NONE))
        expected, _ = alone.prefill([1, 2, 3], alone.add(few), every_position=True)
        slot = own.add(every)
        own.remove(slot)
        assert torch.equal(own.prefill([1, 2, 3], slot, every_position=True)[0], base)
        assert own.add(few) == slot
        assert torch.allclose(own.prefill([1, 2, 3], slot, every_position=True)[0], expected, atol=1e-5)


def test_an_adapter_that_breaks_midway_changes_nothing(adapters: dict[str, Path]) -> None:
    own = Model(load(MODEL, Variant.NONE))
    kept = own.add(read(own, adapters["cardiology-v1.2"]))
    before, _ = own.prefill([1, 2, 3], kept, every_position=True)
    broken = read(own, adapters["emergency-v3"])
    last = list(broken.matrices)[-1]
    broken.matrices[last] = (torch.zeros(3, 3), torch.zeros(3, 3))
    with pytest.raises(RuntimeError):
        own.add(broken)
    again = own.add(read(own, adapters["renal-v1"]))
    assert again == kept + 1
    reference = Model(load(MODEL, Variant.NONE))
    expected, _ = reference.prefill(
        [1, 2, 3], reference.add(read(reference, adapters["renal-v1"])), every_position=True
    )
    assert torch.equal(own.prefill([1, 2, 3], kept, every_position=True)[0], before)
    assert torch.allclose(own.prefill([1, 2, 3], again, every_position=True)[0], expected, atol=1e-5)
