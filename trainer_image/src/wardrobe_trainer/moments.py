"""What Adam knows, as whole tensors by the weights' names, whoever holds which part of it."""

from collections.abc import Iterator
from typing import Any

import torch
from deepspeed.utils import (  # type: ignore[import-untyped]
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
)
from torch import nn

Tensors = dict[str, torch.Tensor]

WEIGHT = "weight"
MOMENTS = ("exp_avg", "exp_avg_sq")
"""Running means of gradient and squared gradient (Kingma and Ba 2015), in torch's names."""


def trainable_weights(model: nn.Module) -> Tensors:
    """Whole float32 weights by their names. All processes must ask together."""
    return {name: _copy(_weight(weight)) for name, weight in _trained(model)}


def collect(model: nn.Module, optimizer: Any) -> Tensors:
    """Weights and moments, as `<weight or moment>:<name>`. All processes must ask together, after a step."""
    found = {f"{WEIGHT}:{name}": weight for name, weight in trainable_weights(model).items()}
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
    for name, weight in _trained(model):
        if _partitioned(weight):  # weights again: DeepSpeed made its float32 copies from the model's bfloat16
            safe_set_full_fp32_param(weight, tensors[f"{WEIGHT}:{name}"].to(weight.device))
        for moment in MOMENTS:
            value = tensors[f"{moment}:{name}"].to(weight.device)
            if _partitioned(weight):
                safe_set_full_optimizer_state(weight, value, moment)
            else:
                _torch(optimizer).state[weight][moment].copy_(value)
    for state in _torch(optimizer).state.values():
        state["step"].fill_(step)


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
    own: torch.Tensor = _torch(optimizer).state[weight][moment]
    return own


def _torch(optimizer: Any) -> torch.optim.Optimizer:
    """torch's own, within what accelerate and DeepSpeed put around it."""
    while not type(optimizer).__module__.startswith("torch.optim"):
        optimizer = optimizer.optimizer
    found: torch.optim.Optimizer = optimizer
    return found


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().float().cpu().clone()
