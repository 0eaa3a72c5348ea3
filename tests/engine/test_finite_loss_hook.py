"""Losses are looked at once an iteration."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import BaseDataElement

from hsonet_mm.engine import FiniteLossHook
from hsonet_mm.errors import UserError


class Counted(torch.Tensor):
    """A number that counts how often somebody looks at one like it, for which a GPU would be waited for."""

    looks = 0

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.looks += func in (torch.Tensor.item, torch.Tensor.__float__, torch.Tensor.__bool__)
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize('bad', [torch.nan, torch.inf, -torch.inf])
def test_finite_losses_cost_one_look(bad):
    hook, runner = FiniteLossHook(), SimpleNamespace(iter=4)
    batch = {'data_samples': [BaseDataElement(metainfo={'img_path': ['a.png', 'b.png']})]}
    outputs = {'loss_a': 1.0, 'acc': torch.tensor(torch.nan)}
    outputs |= {f'loss_{name}': torch.tensor(2.0).as_subclass(Counted).requires_grad_() for name in 'bcd'}
    Counted.looks = 0
    hook.after_train_iter(runner, 4, batch, outputs)
    assert Counted.looks == 1
    outputs |= {'loss_b': torch.tensor(torch.inf), 'loss_d': torch.tensor(bad)}
    with pytest.raises(UserError, match=r'^loss_b is inf at iteration 5: check the batch a\.png'):
        hook.after_train_iter(runner, 4, batch, outputs)
    batch = {'data_samples': [BaseDataElement(metainfo={'img_path': 'c.png'}), BaseDataElement()]}
    with pytest.raises(
        UserError, match=r'check the batch c\.png, \?,'
    ):  # one image a sample, and one in memory
        hook.after_train_iter(runner, 4, batch, outputs)
