"""bitsandbytes' moments in torch's form, as float32 under torch's names, for as long as they are read or written."""

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch
from bitsandbytes import functional
from torch.nn.functional import pad

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Running means of gradient and squared gradient (Kingma and Ba 2015), in torch's names."""
_NUMBERS = {"exp_avg": "1", "exp_avg_sq": "2"}
"""Of the moments in bitsandbytes' names: `state1`, `qmap1`, `absmax1`."""
_LEAST = 1e-30
_BLOCK = 256
"""Values that share a scale, `absmax` (bitsandbytes 0.50, `Optimizer2State.init_state`)."""

State = MutableMapping[str, Any]


@contextmanager
def as_float32(states: Mapping[torch.Tensor, State], moment: str, *, written: bool) -> Iterator[None]:
    """Within, each weight's state has this moment; afterwards, if `written`, bitsandbytes has what it has become.

    One moment at a time: both would take as much memory as an optimizer that is not of 8 bits.

    What was read here and is written here again comes out the same: a block's largest value is exact, and its others
    fall on their own codes. Only other blocks, of other processes or another stage, round anew.
    """
    number = _NUMBERS[moment]
    theirs = {weight: state for weight, state in states.items() if "state1" in state}
    for weight, state in theirs.items():
        state[moment] = read(state, number, weight.device)
    yield
    for state in theirs.values():
        values = state.pop(moment)
        if written:
            _write(state, number, values)


def read(state: State, number: str, device: torch.device) -> torch.Tensor:
    """One moment by its number in bitsandbytes' names, in float32 on the device of its weight.

    What is paged looks as if it were on the CPU, and its scales are not.
    """
    held: torch.Tensor = state[f"state{number}"].to(device, copy=True)
    if held.dtype is torch.float32:  # small weights, and the optimizer of 32 bits
        return held
    found: torch.Tensor = functional.dequantize_blockwise(
        held, absmax=state[f"absmax{number}"], code=state[f"qmap{number}"], blocksize=_BLOCK
    )
    return found.reshape(held.shape)


def _write(state: State, number: str, values: torch.Tensor) -> None:
    held: torch.Tensor = state[f"state{number}"]
    if held.dtype is torch.float32:
        held.copy_(values)
        return
    code, flat = state[f"qmap{number}"], values.flatten()
    blocks = pad(flat, (0, -flat.numel() % _BLOCK)).reshape(-1, _BLOCK)
    # Of the signed code the lowest is above -1: a scale by the largest absolute value, as bitsandbytes takes it, would
    # shrink each time that this value is negative
    scale = torch.maximum(blocks.amax(1) / code[-1], blocks.amin(1) / code[0].clamp(max=-_LEAST)).clamp_min(_LEAST)
    nearest = torch.bucketize(blocks / scale[:, None], (code[1:] + code[:-1]) / 2, out_int32=True)
    held.copy_(nearest.flatten()[: flat.numel()].reshape(held.shape))
    state[f"absmax{number}"].copy_(scale)
