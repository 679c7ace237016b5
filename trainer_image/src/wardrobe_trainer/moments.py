"""What Adam knows, as whole tensors by the weights' names, whoever holds which part of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from deepspeed.utils import (  # type: ignore[import-untyped]
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
)
from torch import nn

from . import eight_bits
from .eight_bits import MOMENTS

Tensors = dict[str, torch.Tensor]

WEIGHT = "weight"


def trainable_weights(model: nn.Module) -> Tensors:
    """Whole float32 weights by their names. All processes must ask together."""
    return {name: _copy(_weight(weight)) for name, weight in _trained(model)}


def collect(model: nn.Module, optimizer: Any) -> Tensors:
    """Weights and moments, as `<weight or moment>:<name>`. All processes must ask together, after a step."""
    found = {f"{WEIGHT}:{name}": weight for name, weight in trainable_weights(model).items()}
    with _float_moments(model, optimizer):
        for name, weight in _trained(model):
            for moment in MOMENTS:
                found[f"{moment}:{name}"] = _copy(_moment(weight, moment, optimizer))
    return found


def put_weights(model: nn.Module, tensors: Tensors) -> None:
    """Into a model that no optimizer knows yet."""
    with torch.no_grad():
        for name, weight in _trained(model):
            weight.copy_(tensors[f"{WEIGHT}:{name}"])


def put_moments(model: nn.Module, optimizer: Any, tensors: Tensors, step: int) -> None:
    """After a first step, which has made room for them, with weights that are those of `tensors` already."""
    with _float_moments(model, optimizer, written=True):
        for name, weight in _trained(model):
            if _partitioned(weight):  # weights again: DeepSpeed made its float32 copies from the model's bfloat16
                safe_set_full_fp32_param(weight, tensors[f"{WEIGHT}:{name}"].to(weight.device))
            for moment in MOMENTS:
                value = tensors[f"{moment}:{name}"].to(weight.device)
                if _partitioned(weight):
                    safe_set_full_optimizer_state(weight, value, moment)
                else:
                    _own(optimizer).state[weight][moment].copy_(value)
    for state in _own(optimizer).state.values():
        state["step"] = torch.full_like(state["step"], step) if torch.is_tensor(state["step"]) else step


@contextmanager
def _float_moments(model: nn.Module, optimizer: Any, *, written: bool = False) -> Iterator[None]:
    """Whatever the optimizer keeps them as. Stages 1 and 2 hand out views, which are made again for what is there."""
    states = _own(optimizer).state
    with eight_bits.as_float32(states.values(), written=written):
        _view_again(model, states)
        yield
    _view_again(model, states)


def _view_again(model: nn.Module, states: dict[torch.Tensor, Any]) -> None:
    """Each weight's part of what this process holds of its group in one flat tensor."""
    flat = {held.untyped_storage().data_ptr(): held for held in states}
    for _, weight in _trained(model):
        mapping = getattr(weight, "_hp_mapping", None)
        if mapping is not None and mapping.optim_fragment is not None:
            held = flat[mapping.hp_fragment.untyped_storage().data_ptr()]
            mapping.set_optim_state_fragment(held, states[held])


def _trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)


def _partitioned(weight: nn.Parameter) -> bool:
    """Whether DeepSpeed holds its float32 form elsewhere."""
    return hasattr(weight, "ds_id") or hasattr(weight, "_hp_mapping")


def _weight(weight: nn.Parameter) -> torch.Tensor:
    whole: torch.Tensor = safe_get_full_fp32_param(weight) if _partitioned(weight) else weight
    return whole


def _moment(weight: nn.Parameter, moment: str, optimizer: Any) -> torch.Tensor:
    if _partitioned(weight):
        whole: torch.Tensor = safe_get_full_optimizer_state(weight, moment)
        return whole
    own: torch.Tensor = _own(optimizer).state[weight][moment]
    return own


def _own(optimizer: Any) -> torch.optim.Optimizer:
    """torch's or bitsandbytes', within what accelerate and DeepSpeed put around it."""
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    found: torch.optim.Optimizer = optimizer
    return found


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().float().cpu().clone()
