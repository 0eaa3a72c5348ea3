"""The head of BIT, which relates the dates through a few semantic tokens."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_norm_layer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.models.layers import split_dates
from hsonet_mm.opencd.registry import MODELS

__all__ = ['BITHead']

_POOLINGS: dict[str, Callable[[Tensor, int], Tensor]] = {
    'max': F.adaptive_max_pool2d,
    'avg': F.adaptive_avg_pool2d,
}


class _Attention(nn.Module):
    """Multi-head attention of some vectors to those of a reference.

    The products are scaled by the width of the vectors, not by that of a head, as in the paper's code and Open-CD.

    Shapes:
        x (N, L, C) and reference (N, M, C) to (N, L, C).
    """

    def __init__(self, channels: int, width: int, heads: int, drop_rate: float) -> None:
        super().__init__()
        self.heads = heads
        self.scale = channels**-0.5
        self.to_q = nn.Linear(channels, width, bias=False)
        self.to_k = nn.Linear(channels, width, bias=False)
        self.to_v = nn.Linear(channels, width, bias=False)
        self.fc_out = nn.Sequential(nn.Linear(width, channels), nn.Dropout(drop_rate))

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """What each vector takes from the reference."""
        query, key, value = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.to_q(x), self.to_k(reference), self.to_v(reference))
        )
        out = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        return self.fc_out(out.transpose(1, 2).flatten(2))


class _Block(nn.Module):
    """Attention and feed-forward network, each with a norm before it and a skip around it.

    With ``cross`` the vectors attend to a reference, which has a norm of its own, instead of to themselves.

    Shapes:
        x (N, L, C) and, with `cross`, reference (N, M, C) to (N, L, C).
    """

    def __init__(
        self, channels: int, width: int, heads: int, drop_rate: float, norm_cfg: dict, cross: bool
    ) -> None:
        super().__init__()
        self.attn = _Attention(channels, width, heads, drop_rate)
        self.ff = nn.Sequential(
            nn.Linear(channels, width),
            nn.ReLU(),
            nn.Dropout(drop_rate),
            nn.Linear(width, channels),
            nn.Dropout(drop_rate),
        )
        self.norm1 = build_norm_layer(norm_cfg, channels)[1]
        if cross:
            self.norm1_ = build_norm_layer(norm_cfg, channels)[1]
        self.norm2 = build_norm_layer(norm_cfg, channels)[1]

    def forward(self, x: Tensor, reference: Tensor | None = None) -> Tensor:
        """Refine the vectors."""
        normed = self.norm1(x)
        x = x + self.attn(normed, normed if reference is None else self.norm1_(reference))
        return x + self.ff(self.norm2(x))


class _Upsample(nn.Module):
    """Bilinear upsampling by a whole factor; MMSegmentation's fixes the size of the example when it is exported."""

    def __init__(self, factor: int, align_corners: bool) -> None:
        super().__init__()
        self.factor, self.align_corners = factor, align_corners

    def forward(self, x: Tensor) -> Tensor:
        size = [self.factor * side for side in x.shape[2:]]
        return F.interpolate(x, size=size, mode='bilinear', align_corners=self.align_corners)


@MODELS.register_module()
class BITHead(BaseDecodeHead):
    """Bitemporal image transformer: tokens of both dates meet in an encoder, then refine each date's pixels.

    Each date is condensed to a few tokens, weighted means of its pixels; the encoder relates the tokens of both
    dates; in the decoder the pixels of a date attend to its tokens; the classifier sees |difference| of the dates. The
    dates share all weights and nothing in the head depends on the batch, so they run as one batch.

    Args:
        in_channels: channels of *one* date.
        channels: width C of tokens and pixels.
        embed_dims: hidden channels of attention and feed-forward network.
        enc_depth: blocks of the encoder.
        enc_with_pos: learn an embedding of each token's place (which token of which date).
        dec_depth: blocks of the decoder.
        num_heads: heads of the attention.
        drop_rate: dropout in the blocks.
        pool_size: without tokenizer, pool_size x pool_size pooled pixels are the tokens.
        pool_mode: without tokenizer, ``'max'`` or ``'avg'``.
        use_tokenizer: learn which pixels make a token (the paper's best); else pool.
        token_len: tokens of a date, with tokenizer.
        pre_upsample: factor by which the features are enlarged before all else.
        upsample_size: factor by which the difference is enlarged before the classifier.
        norm_cfg: normalisation of the blocks; layer norm if not given.
        **kwargs: of MMSegmentation's ``BaseDecodeHead``.

    Shapes:
        inputs: one level, (N, 2 in_channels, H, W), the dates side by side. Returns logits (N, out_channels, s H, s W)
        with s = pre_upsample * upsample_size.

    Raises:
        UserError: for an unknown pooling, or heads that do not divide `embed_dims`.

    References:
        Chen, Qi and Shi, *Remote Sensing Image Change Detection with Transformers*, TGRS 2021, arXiv 2103.00208.
        This is BIT as in Open-CD 1.1; outputs are checked against it. The authors' code (github.com/justchenhao/BIT_CD)
        classifies by two 3x3 convolutions, here by one of 1x1; its encoder is 512 wide inside, here ``embed_dims``;
        its feed-forward networks have GELU, here ReLU; the norm before a cross attention is shared by pixels and
        tokens, here each has its own; it enlarges the features by nearest neighbours, here bilinearly; and the
        convolutions before and in the tokenizer have no ReLU.
    """

    def __init__(
        self,
        in_channels: int = 256,
        channels: int = 32,
        embed_dims: int = 64,
        enc_depth: int = 1,
        enc_with_pos: bool = True,
        dec_depth: int = 8,
        num_heads: int = 8,
        drop_rate: float = 0.0,
        pool_size: int = 2,
        pool_mode: str = 'max',
        use_tokenizer: bool = True,
        token_len: int = 4,
        pre_upsample: int = 2,
        upsample_size: int = 4,
        norm_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        if embed_dims % num_heads:
            raise UserError(
                f'invalid num_heads {num_heads} of BITHead: expected a divisor of embed_dims={embed_dims}'
            )
        if pool_mode not in _POOLINGS:
            raise UserError(
                f'invalid pool_mode {pool_mode!r} of BITHead: expected one of {", ".join(_POOLINGS)}'
            )
        norm_cfg = norm_cfg or dict(type='LN')
        super().__init__(in_channels, channels, norm_cfg=norm_cfg, **kwargs)
        self.pool_size = pool_size
        self.pool_mode = pool_mode
        self.use_tokenizer = use_tokenizer
        self.token_len = token_len if use_tokenizer else pool_size**2
        if use_tokenizer:
            self.conv_att = ConvModule(channels, token_len, 1, conv_cfg=self.conv_cfg)
        self.enc_pos_embedding = (
            nn.Parameter(torch.randn(1, 2 * self.token_len, channels)) if enc_with_pos else None
        )
        self.pre_process = nn.Sequential(
            _Upsample(pre_upsample, self.align_corners),
            ConvModule(in_channels, channels, 3, padding=1, conv_cfg=self.conv_cfg),
        )
        block = (channels, embed_dims, num_heads, drop_rate, norm_cfg)
        self.encoder = nn.ModuleList(_Block(*block, cross=False) for _ in range(enc_depth))
        self.decoder = nn.ModuleList(_Block(*block, cross=True) for _ in range(dec_depth))
        self.upsample = _Upsample(upsample_size, self.align_corners)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits of change from the features of both dates."""
        x = self.pre_process(torch.cat(self._transform_inputs(inputs).chunk(2, dim=1)))
        tokens = torch.cat(split_dates(self._tokens(x)), dim=1)
        if self.enc_pos_embedding is not None:
            tokens = tokens + self.enc_pos_embedding
        for block in self.encoder:
            tokens = block(tokens)
        tokens = torch.cat(tokens.chunk(2, dim=1))
        pixels = x.flatten(2).transpose(1, 2)
        for block in self.decoder:
            pixels = block(pixels, tokens)
        t1, t2 = split_dates(pixels.transpose(1, 2).reshape(x.shape))
        return self.cls_seg(self.upsample((t1 - t2).abs()))

    def _tokens(self, x: Tensor) -> Tensor:
        """Tokens, (N, token_len, C), of features (N, C, H, W)."""
        if not self.use_tokenizer:
            return _POOLINGS[self.pool_mode](x, self.pool_size).flatten(2).transpose(1, 2)
        attention = self.conv_att(x).flatten(2).softmax(dim=-1)
        return attention @ x.flatten(2).transpose(1, 2)
