"""Where a base goes that is measured, and that it computes the same there.

No GPU is needed. What is seen of several is in two halves: accelerate's hooks on real weights, all of which lie on the
CPU, and a pass over two imitated GPUs, whose tensors have devices and shapes and no values.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import dispatch_model  # type: ignore[import-untyped]  # ships no types
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.training import Lora
from wardrobe_models.chat import Chat
from wardrobe_models.loading import load_base, skeleton
from wardrobe_trainer.lora import lora_config
from wardrobe_trainer.probes import complete
from wardrobe_trainer.problems import TaskError
from wardrobe_trainer.scoring import Passage, base_and_candidate, decode, log_probabilities, logits
from wardrobe_trainer.spreading import DeviceMap, device_map, place, weight_bytes

LORA = Lora(rank=2, alpha=4, dropout=0, target_modules=["all-linear"])
PASSAGES = [Passage(list(range(5, 40)), list(range(3, 35))), Passage(list(range(9, 20)), list(range(2, 11)))]
GIB = 2**30
IMITATED = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor:UserWarning")
"""accelerate does, to find tied weights, of which an imitated base has none."""


@pytest.fixture(scope="module")
def base(base_folder: Path) -> PreTrainedModel:
    return skeleton(base_folder)


def of_free(base: PreTrainedModel, variant: Variant, *shares: float) -> DeviceMap | None:
    """Where it goes if so much is free on each GPU, in shares of what its weights take."""
    return device_map(base, variant, [int(share * weight_bytes(base, variant)) for share in shares])


@pytest.mark.parametrize("variant", list(Variant))
@pytest.mark.parametrize(
    ("free", "gpus"),
    [
        ((1,), {0}),
        ((0.999,), None),
        ((1.2, 1.2), {0}),
        ((1, 1), {0, 1}),  # a tenth stays free where there are several
        ((0.8, 1.2), {0, 1}),
        ((0.05, 1.2), {1}),  # not even the embedding finds room on the first
        ((0.6, 0.6, 0.6), {0, 1, 2}),
        ((0.5, 0.5), None),
    ],
)
def test_one_gpu_where_that_is_enough_else_all(
    base: PreTrainedModel, variant: Variant, free: tuple[float, ...], gpus: set[int] | None
) -> None:
    found = of_free(base, variant, *free)
    assert (set(found.values()) if found else None) == gpus


def test_layers_are_shared_out_evenly_and_whole_in_their_order(base: PreTrainedModel) -> None:
    found = of_free(base, Variant.NONE, 1, 1) or {}
    layers = [found[f"model.layers.{number}"] for number in range(6)]
    assert layers == [0, 0, 1, 1, 1, 1]  # the embedding is as large as a layer and a third
    assert found["model.embed_tokens"] == found["lm_head"] == 0  # whose weights are the same
    assert found["model.norm"] == 1


@given(shares=st.lists(st.floats(0.01, 1.3), min_size=1, max_size=5), variant=st.sampled_from(list(Variant)))
def test_every_weight_has_a_gpu_and_none_is_overfilled(
    base: PreTrainedModel, shares: list[float], variant: Variant
) -> None:
    found = of_free(base, variant, *shares)
    if found is None:
        return
    whole = weight_bytes(base, variant)
    if len(shares) == 1:
        assert found == {"": 0}
        return
    taken = dict.fromkeys(range(len(shares)), 0.0)
    for name, weight in base.named_parameters():
        taken[next(gpu for piece, gpu in found.items() if name.startswith(piece))] += weight.numel()
    assert all(count == 0 for gpu, count in taken.items() if gpu not in found.values())
    if variant is Variant.NONE:
        assert all(2 * count <= 0.9 * int(shares[gpu] * whole) for gpu, count in taken.items())


@pytest.mark.parametrize("variant", list(Variant))
def test_weights_take_what_they_take_once_they_are_loaded(
    base: PreTrainedModel, base_folder: Path, variant: Variant
) -> None:
    loaded = load_base(base_folder, variant, Accelerator.CPU, dtype=torch.bfloat16)
    assert weight_bytes(base, variant) == sum(found.nbytes for found in (*loaded.parameters(), *loaded.buffers()))
    if variant is not Variant.NONE:
        assert any(isinstance(part, Linear4bit | Linear8bitLt) for part in loaded.modules())


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What the driver would say of a pod's GPUs."""

    def says(*free: int, bfloat16: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "init", lambda: None)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (free[index], free[index]))
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16)

    return says


def test_where_a_variant_goes_is_the_drivers_to_say(base_folder: Path, gpus: Callable[..., None]) -> None:
    assert place(Accelerator.CPU, base_folder, Variant.NONE) is None
    gpus(GIB)
    assert place(Accelerator.GPU, base_folder, Variant.NONE) == {"": 0}
    gpus(10_000_000, 10_000_000)
    assert place(Accelerator.GPU, base_folder, Variant.NF4) == {"": 0}
    spread = place(Accelerator.GPU, base_folder, Variant.NONE)
    assert spread is not None
    assert set(spread.values()) == {0, 1}


@pytest.mark.parametrize(
    ("free", "said"),
    [
        ((10_000_000,), "and 0.0 GiB are free"),
        ((4_000_000, 4_000_000), "and 0.0, 0.0 GiB are free on 2 GPUs, of which whole layers may fill 90 %"),
    ],
)
def test_a_variant_that_lacks_only_memory_may_leave_another_that_fits(
    base_folder: Path, gpus: Callable[..., None], free: tuple[int, ...], said: str
) -> None:
    gpus(*free)
    with pytest.raises(TaskError) as caught:
        place(Accelerator.GPU, base_folder, Variant.NONE)
    assert (caught.value.code, caught.value.reason) == (ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY)
    assert caught.value.problem.rule == f"None takes 0.0 GiB at least, for the base's weights alone, {said}"
    assert "spec.parallelism.processesPerNode" in caught.value.problem.next_step


def test_an_accelerator_that_no_variant_can_use(base_folder: Path, gpus: Callable[..., None]) -> None:
    gpus(GIB, bfloat16=False)
    with pytest.raises(TaskError) as caught:
        place(Accelerator.GPU, base_folder, Variant.NONE)
    assert caught.value.code is ExitCode.ACCELERATOR


@pytest.fixture(scope="module")
def adapter(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that does something, at random."""
    torch.manual_seed(0)
    made = get_peft_model(load_base(base_folder, Variant.NONE, Accelerator.CPU), lora_config(LORA))
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.02)
    folder = tmp_path_factory.mktemp("adapter")
    made.save_pretrained(str(folder))
    return folder


@pytest.mark.parametrize("variant", list(Variant))
def test_a_base_with_hooks_scores_and_answers_as_one_without(
    base: PreTrainedModel, base_folder: Path, adapter: Path, chat: Chat, variant: Variant
) -> None:
    """All pieces lie on the CPU: what is moved from one to the next is there already."""
    plain, spread = (load_base(base_folder, variant, Accelerator.CPU) for _ in range(2))
    pieces = of_free(base, variant, 1, 1) or {}
    dispatch_model(spread, dict.fromkeys(pieces, torch.device("cpu")), force_hooks=True)
    one, other = (PeftModel.from_pretrained(model, adapter, is_trainable=False).eval() for model in (plain, spread))
    for model in (one, other):  # as an incumbent comes and goes
        model.load_adapter(str(adapter), adapter_name="incumbent", is_trainable=False)
        model.delete_adapter("incumbent")
    assert hasattr(other.get_base_model().get_submodule("model.layers.5"), "_hf_hook")
    for expected, found in zip(base_and_candidate(one, PASSAGES), base_and_candidate(other, PASSAGES), strict=True):
        assert all(torch.equal(left, right) for left, right in zip(expected, found, strict=True))
    question = chat.render([{"role": "user", "content": "Why?"}], prompt=True)
    assert complete(chat, other, question) == complete(chat, one, question)


def test_the_base_is_loaded_where_it_is_told(base_folder: Path) -> None:
    """Not where a base that nobody spreads would go, which there is not here."""
    devices = {"model": torch.device("cpu"), "lm_head": torch.device("cpu")}
    loaded = load_base(base_folder, Variant.NONE, Accelerator.GPU, devices=devices)
    assert {weight.device.type for weight in loaded.parameters()} == {"cpu"}


@pytest.fixture
def on_two(base_folder: Path) -> tuple[PeftModel, FakeTensorMode]:
    """A base with an adapter on two imitated GPUs, its output layer on the second, since it is not the embedding."""
    config = AutoConfig.from_pretrained(base_folder)
    config.tie_word_embeddings = False
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]  # it has no types
            config, dtype=torch.bfloat16
        ).eval()
    imitation = FakeTensorMode(allow_non_fake_inputs=True)
    devices = {name: torch.device("cuda", gpu) for name, gpu in (of_free(model, Variant.NONE, 1, 1) or {}).items()}
    with imitation:
        for name, device in devices.items():
            imitate(model.get_submodule(name), device)
        dispatch_model(model, devices, skip_keys=model._skip_keys_device_placement)
    wrapped = get_peft_model(model, lora_config(LORA), low_cpu_mem_usage=True).eval()
    with imitation:
        for part in wrapped.modules():
            for name in ("lora_A", "lora_B") if isinstance(part, LoraLayer) else ():
                imitate(part.get_submodule(name), part.get_parameter("base_layer.weight").device)
    return wrapped, imitation


def imitate(module: nn.Module, device: torch.device) -> None:
    """Tensors of the same shapes there."""
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            there = torch.empty(weight.shape, dtype=weight.dtype, device=device)
            part.register_parameter(name, nn.Parameter(there, requires_grad=False))
        for name, buffer in part.named_buffers(recurse=False):
            part.register_buffer(name, torch.empty(buffer.shape, dtype=buffer.dtype, device=device), persistent=False)


@IMITATED
def test_a_pass_over_two_gpus_mixes_no_devices(on_two: tuple[PeftModel, FakeTensorMode]) -> None:
    """torch refuses what has arguments on two devices, also where they are imitated."""
    model, imitation = on_two
    first, last = torch.device("cuda", 0), torch.device("cuda", 1)
    assert model.device == first
    with imitation, torch.inference_mode():
        read = decode(model, [passage.ids for passage in PASSAGES])
        assert read.last_hidden_state.device == last
        assert logits(model, read, read.last_hidden_state[0, :5]).device == last
        found = log_probabilities(model, PASSAGES)
    assert [(len(row), row.device.type) for row in found] == [(32, "cpu"), (9, "cpu")]


@IMITATED
def test_tokens_are_generated_over_two_gpus(on_two: tuple[PeftModel, FakeTensorMode]) -> None:
    """Each layer's cache lies with it, and logits come back to where the tokens are."""
    model, imitation = on_two
    with imitation, torch.no_grad():
        ids = torch.tensor([[1, 2, 3, 4]], device=model.device)
        begun = model(input_ids=ids, use_cache=True)
        going_on = model(input_ids=ids[:, -1:], past_key_values=begun.past_key_values, use_cache=True)
    assert begun.logits.device == going_on.logits.device == ids.device
    assert {layer.keys.device.index for layer in going_on.past_key_values.layers} == {0, 1}
