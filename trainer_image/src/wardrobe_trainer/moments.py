"""What Adam knows, as whole tensors by the weights' names, whoever holds which part of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from deepspeed.runtime.zero import GatheredParameters  # type: ignore[import-untyped]
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
Stored = Callable[[str], torch.Tensor]
"""Gives a tensor of a checkpoint by its name; read when it is asked for, since a whole one may be large."""

WEIGHT = "weight"


def count(model: nn.Module) -> int:
    """Values that are trained, those among them that other processes hold."""
    return sum(getattr(weight, "ds_numel", weight.numel()) for _, weight in _trained(model))


def trainable_weights(model: nn.Module, *, keep: bool) -> Tensors:
    """Whole float32 weights by their names. All processes must ask together; those that keep none get none."""
    found: Tensors = {}
    for name, weight in _trained(model):
        _keep(found, name, _weight(weight), keep=keep)
    return found


def collect(model: nn.Module, optimizer: Any, *, keep: bool) -> Tensors:
    """Weights and moments, as `<weight or moment>:<name>`. All processes must ask together, after a step."""
    found = {f"{WEIGHT}:{name}": weight for name, weight in trainable_weights(model, keep=keep).items()}
    for moment in MOMENTS:
        with _float_moment(model, optimizer, moment):
            for name, weight in _trained(model):
                _keep(found, f"{moment}:{name}", _moment(weight, moment, optimizer), keep=keep)
    return found


def put_weights(model: nn.Module, stored: Stored) -> None:
    """Into a model that no optimizer knows yet."""
    for name, weight in _trained(model):
        value = stored(f"{WEIGHT}:{name}")
        # a base that was partitioned while it was loaded: the first process's value is taken, and all have the same
        whole = GatheredParameters([weight], modifier_rank=0) if hasattr(weight, "ds_id") else nullcontext()
        with torch.no_grad(), whole:
            weight.copy_(value)


def put_moments(model: nn.Module, optimizer: Any, stored: Stored, step: int) -> None:
    """After a first step, which has made room for them, with weights that are those of `stored` already."""
    for name, weight in _trained(model):
        if _partitioned(weight):  # weights again: DeepSpeed made its float32 copies from the model's bfloat16
            safe_set_full_fp32_param(weight, stored(f"{WEIGHT}:{name}").to(weight.device))
    for moment in MOMENTS:
        with _float_moment(model, optimizer, moment, written=True):
            for name, weight in _trained(model):
                value = stored(f"{moment}:{name}").to(weight.device)
                if _partitioned(weight):
                    safe_set_full_optimizer_state(weight, value, moment)
                else:
                    _own(optimizer).state[weight][moment].copy_(value)
    for state in _own(optimizer).state.values():
        state["step"] = torch.full_like(state["step"], step) if torch.is_tensor(state["step"]) else step


@contextmanager
def _float_moment(model: nn.Module, optimizer: Any, moment: str, *, written: bool = False) -> Iterator[None]:
    """Whatever the optimizer keeps it as. Stages 1 and 2 hand out views, which are made again for what is there."""
    states = _own(optimizer).state
    with eight_bits.as_float32(states, moment, written=written):
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


def _keep(found: Tensors, name: str, tensor: torch.Tensor, *, keep: bool) -> None:
    if keep:
        found[name] = tensor.detach().float().cpu().clone()
