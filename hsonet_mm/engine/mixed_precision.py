"""Mixed precision on GPUs and CPUs, and the choice between it and full precision by measured time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import all_reduce
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hsonet_mm.errors import UserError
from hsonet_mm.machine import has_bf16
from hsonet_mm.registry import OPTIM_WRAPPERS

__all__ = ['PRECISIONS', 'MixedPrecisionOptimWrapper', 'set_precision']

PRECISIONS = {'auto': 'auto', 'bf16': 'bfloat16', 'fp16': 'float16', 'off': None}
"""The choices of ``--amp``, and the ``dtype`` of :class:`MixedPrecisionOptimWrapper` that each stands for."""
TRIAL_STEPS = 4
"""Steps that ``auto`` takes in either precision; the first of each warms up and is not counted."""
GAIN = 1.05
"""How many times as fast as float32 bfloat16 must be for ``auto`` to take it [choice]."""


def set_precision(cfg: Config, precision: str) -> None:
    """Set the training precision of a config, in place, to one of :data:`PRECISIONS`; 'off' is float32."""
    wrapper = cfg.optim_wrapper
    kind = wrapper.get('type', 'OptimWrapper')
    name = kind if isinstance(kind, str) else kind.__name__
    if name.rsplit('.', 1)[-1] not in ('OptimWrapper', 'AmpOptimWrapper', 'MixedPrecisionOptimWrapper'):
        raise UserError(
            f'--amp {precision} cannot replace optim_wrapper.type={name!r}: leave --amp out, or set the '
            'precision in the config'
        )
    if precision == 'off':
        wrapper.type = 'OptimWrapper'
        for key in ('dtype', 'loss_scale', 'use_fsdp'):
            wrapper.pop(key, None)
    else:
        wrapper.type = 'hsonet_mm.MixedPrecisionOptimWrapper'
        wrapper.dtype = PRECISIONS[precision]


@OPTIM_WRAPPERS.register_module()
class MixedPrecisionOptimWrapper(AmpOptimWrapper):
    """MMEngine's ``AmpOptimWrapper``, also for CPUs, with losses in float32 and a choice by measured time.

    Weights, gradients and checkpoints stay in float32; PyTorch's autocast decides which operations take the other type.
    Three things are added [choice]: losses, the modules ``loss_*`` of a model, get float32 and compute in it; on CPUs
    depthwise convolutions, except those of 3 x 3 at stride 1, stay in float32, because their backward pass is slow in
    bfloat16; and ``dtype='auto'``.

    On a GPU ``auto`` is bfloat16 where the GPU computes in it, else float16. On a CPU without instructions for bfloat16
    it is float32. On other CPUs the first steps of the training alternate between float32 and bfloat16, and all others
    use the one with the shorter median time; a resumed training keeps the choice.

    Args:
        optimizer: The optimiser to wrap.
        dtype: 'auto', 'bfloat16', or 'float16' with its scaled loss, for GPUs.
        loss_scale: Of ``AmpOptimWrapper``; used in float16 only.
        **kwargs: Of ``AmpOptimWrapper``, such as ``accumulative_counts`` and ``clip_grad``.

    Raises:
        UserError: for another dtype, float16 on a CPU, or a device that is neither a GPU nor a CPU.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        dtype: str = 'auto',
        loss_scale: str | float | dict[str, Any] = 'dynamic',
        **kwargs: Any,
    ) -> None:
        if dtype not in ('auto', 'bfloat16', 'float16'):
            raise UserError(
                f"invalid optim_wrapper.dtype {dtype!r}: expected 'auto', 'bfloat16' or 'float16'"
            )
        self._device = get_device()
        self._chosen: str | None = None
        self._trial: _Trial | None = None
        self._seen: nn.Module | None = None
        if self._device == 'cuda':
            if dtype == 'auto':
                dtype = 'bfloat16' if torch.cuda.is_bf16_supported(including_emulation=False) else 'float16'
            scale = loss_scale if dtype == 'float16' else {'enabled': False}
            super().__init__(scale, dtype, optimizer=optimizer, **kwargs)
            return
        if self._device != 'cpu':
            raise UserError(f'mixed precision works on GPUs and CPUs, not on {self._device}: leave --amp out')
        if dtype == 'float16':
            raise UserError('training in float16 (--amp fp16) needs a GPU and none is found: give --amp bf16')
        OptimWrapper.__init__(
            self, optimizer, **kwargs
        )  # AmpOptimWrapper's refuses to do without an accelerator
        self._scale_update_param = None
        self.loss_scaler = torch.amp.GradScaler('cpu', enabled=False)
        self.cast_dtype = torch.bfloat16
        if dtype == 'auto' and has_bf16() is False:
            self.cast_dtype = torch.float32
            _tell('The processor has no instructions for bfloat16: training in float32')
        elif dtype == 'auto':
            self._trial = _Trial()

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Forward pass and losses of a step, in the precision of the step."""
        if self._seen is not model:
            _keep_losses_in_fp32(model, self._device)
            self._seen = model
        if self._trial is not None:
            self.cast_dtype = self._trial.begin()
        with OptimWrapper.optim_context(self, model), _cast(self._device, self.cast_dtype):
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Back-propagate; this ends a step of the trial."""
        super().backward(loss, **kwargs)
        if self._trial is not None and (chosen := self._trial.end()) is not None:
            self._go_on_in(chosen)

    def state_dict(self) -> dict:
        """State of the optimiser, the loss scale if there is one, and the choice of ``auto``."""
        state = super().state_dict()
        if not state['loss_scaler']:
            del state['loss_scaler']
        if self._chosen is not None:
            state['precision'] = self._chosen
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        """Load the state of any wrapper of one optimiser, with or without mixed precision."""
        chosen = state_dict.pop('precision', None)
        super().load_state_dict(state_dict)
        if self._trial is not None and chosen is not None:
            _tell(f'Mixed precision: going on in {chosen}, as before')
            self._go_on_in(getattr(torch, chosen))

    def _go_on_in(self, dtype: torch.dtype) -> None:
        self._trial, self.cast_dtype, self._chosen = None, dtype, _name(dtype)


class _Trial:
    """Alternates steps in float32 and bfloat16 and measures which is faster."""

    def __init__(self) -> None:
        self._seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
        self._dtype = torch.float32
        self._start = 0.0

    def begin(self) -> torch.dtype:
        """Begin a step; returns its precision."""
        self._dtype = min(self._seconds, key=lambda dtype: len(self._seconds[dtype]))
        self._start = time.perf_counter()
        return self._dtype

    def end(self) -> torch.dtype | None:
        """End a step; returns the choice once it is made, the same in all processes."""
        self._seconds[self._dtype].append(time.perf_counter() - self._start)
        if len(self._seconds[torch.bfloat16]) < TRIAL_STEPS:
            return None
        medians = torch.tensor([median(times[1:]) for times in self._seconds.values()], dtype=torch.float64)
        all_reduce(medians, 'mean')
        fp32, bf16 = medians.tolist()
        chosen = torch.bfloat16 if fp32 > GAIN * bf16 else torch.float32
        _tell(
            f'Mixed precision: a step takes {fp32:.3f} s in float32 and {bf16:.3f} s in bfloat16 '
            f'(medians of {TRIAL_STEPS - 1} each): training in {_name(chosen)}'
        )
        return chosen


class _SlowConvolutionsInFp32(TorchFunctionMode):
    """Compute in float32, under autocast, the depthwise convolutions whose backward pass is slow in bfloat16 on CPUs.

    These are all but those of 3 x 3 at stride 1. What they return is bfloat16, in which norm and activation go on.
    """

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of PyTorch."""
        del types
        if func is torch.conv2d and len(args) > 3 and _is_slow(args[0], args[1], args[3]) and _casts():
            x, *others = args
            with torch.autocast('cpu', enabled=False):
                return func(x.float(), *others, **(kwargs or {})).bfloat16()
        return func(*args, **(kwargs or {}))


def _casts() -> bool:
    """Whether autocast of CPUs is on here; it is off in the losses."""
    try:
        return torch.is_autocast_enabled('cpu')
    except TypeError:  # PyTorch before 2.4
        return torch.is_autocast_cpu_enabled()


def _is_slow(x: Tensor, weight: Tensor, stride: Any) -> bool:
    """Whether this is a depthwise convolution with a slow backward pass, by measurement with PyTorch 2.13."""
    depthwise = weight.shape[1] == 1 < x.shape[1]
    return depthwise and not (weight.shape[-2:] == (3, 3) and tuple(stride) == (1, 1))


@contextmanager
def _cast(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Autocast of a device to a type; on CPUs without the operations that are slow in it."""
    if dtype == torch.float32:
        yield
    elif device == 'cpu':
        with torch.autocast('cpu', dtype), _SlowConvolutionsInFp32():
            yield
    else:
        with torch.autocast(device, dtype):
            yield


def _keep_losses_in_fp32(model: nn.Module, device: str) -> None:
    """Make the modules ``loss_*`` of a model, the losses, compute in float32 under autocast."""
    contexts = []

    def enter(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        contexts.append(torch.autocast(device, enabled=False))
        contexts[-1].__enter__()
        return tuple(map(_single, args)), {key: _single(value) for key, value in kwargs.items()}

    def leave(*_: Any) -> None:
        contexts.pop().__exit__(None, None, None)

    for name, module in model.named_modules():
        if any(part.startswith('loss_') for part in name.split('.')):
            module.register_forward_pre_hook(enter, with_kwargs=True)
            module.register_forward_hook(leave, always_call=True)


def _single(value: Any) -> Any:
    """Convert half precision to float32; return anything else unchanged."""
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')


def _tell(message: str) -> None:
    print_log(message, logger='current')
