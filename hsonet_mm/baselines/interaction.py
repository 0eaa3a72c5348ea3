"""What the two dates of a Siamese backbone can do to each other's features, without or with few weights."""

from typing import Any

import torch
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.opencd.registry import MODELS

__all__ = ['Aggregation_distribution', 'ChannelExchange', 'SpatialExchange', 'TwoIdentity']


@MODELS.register_module()
class TwoIdentity(BaseModule):
    """No interaction; what ``None`` in ``interaction_cfg`` stands for."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        """Features of both dates as they are."""
        return x1, x2


class _Exchange(BaseModule):
    """Exchange every int(1/p)-th slice of the features between the dates, the first one included.

    So only p = 1/2, 1/3, ... are the share that is really exchanged; this is Open-CD's rule.

    Args:
        p: share of the slices to exchange, in (0, 1].

    Shapes:
        Two tensors of (N, C, H, W) in and out.

    Raises:
        UserError: for a share outside (0, 1].

    References:
        Fang et al., *Changer: Feature Interaction is What You Need for Change Detection*, TGRS 2023,
        arXiv 2209.08290. Outputs checked against Open-CD 1.1.
    """

    dim: int
    """The dimension that is sliced."""

    def __init__(self, p: float = 1 / 2) -> None:
        super().__init__()
        if not 0 < p <= 1:
            raise UserError(f'{type(self).__name__} exchanges a share p in (0, 1] of the features, not {p}')
        self.period = int(1 / p)

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        """Features of both dates after the exchange."""
        shape = [1] * x1.ndim
        shape[self.dim] = -1
        exchanged = (torch.arange(x1.shape[self.dim], device=x1.device) % self.period == 0).view(shape)
        return torch.where(exchanged, x2, x1), torch.where(exchanged, x1, x2)


@MODELS.register_module()
class ChannelExchange(_Exchange):
    """Exchange every int(1/p)-th channel between the dates.

    Args:
        p: share of the channels to exchange, in (0, 1].
    """

    dim = 1


@MODELS.register_module()
class SpatialExchange(_Exchange):
    """Exchange every int(1/p)-th column between the dates.

    Args:
        p: share of the columns to exchange, in (0, 1].
    """

    dim = 3


@MODELS.register_module()
class Aggregation_distribution(BaseModule):  # noqa: N801
    r"""Changer's aggregation and distribution: channel weights for each date from what both have in common.

    .. math:: a = W_2\,\mathrm{ReLU}(\mathrm{BN}(W_1\,\mathrm{GAP}(x_1 + x_2))), \quad x_t \sigma(a_t)

    Args:
        channels: channels C of the features.
        num_paths: number of dates; there are two.
        attn_channels: channels between the two layers, at least 8; C / 16 if not given.
        act_cfg: activation between them.
        norm_cfg: normalisation between them.

    Shapes:
        Two tensors of (N, C, H, W) in and out.

    Raises:
        UserError: for another number of dates.

    References:
        Changer, arXiv 2209.08290. Outputs checked against Open-CD 1.1.
    """

    def __init__(
        self,
        channels: int,
        num_paths: int = 2,
        attn_channels: int | None = None,
        act_cfg: dict | None = None,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        if num_paths != 2:
            raise UserError(
                f'Aggregation_distribution takes two dates, so num_paths must be 2, not {num_paths}'
            )
        width = max(attn_channels or channels // 16, 8)
        self.fc_reduce = nn.Conv2d(channels, width, kernel_size=1, bias=False)
        self.bn = build_norm_layer(norm_cfg or dict(type='BN'), width)[1]
        self.act = build_activation_layer(act_cfg or dict(type='ReLU'))
        self.fc_select = nn.Conv2d(width, 2 * channels, kernel_size=1, bias=False)

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted features of both dates."""
        common = (x1 + x2).mean(dim=(2, 3), keepdim=True)
        a1, a2 = self.fc_select(self.act(self.bn(self.fc_reduce(common)))).sigmoid().chunk(2, dim=1)
        return x1 * a1, x2 * a2
