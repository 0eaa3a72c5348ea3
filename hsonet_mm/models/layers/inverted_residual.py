"""Base class of the blocks of EfficientNet and EfficientNet-Lite."""

from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

__all__ = ['InvertedResidual']


class InvertedResidual(nn.Module):
    """Inverted residual: expansion, depthwise convolution, projection, with a shortcut if the shape stays.

    MobileNetV2 (Sandler et al., CVPR 2018). A subclass makes its layers in :meth:`build` and applies them in
    :meth:`branch`, under the names of the checkpoints that it loads.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        expansion: the depthwise convolution works on this many times the input's channels.
        kernel: size of the depthwise kernel, odd.
        stride: 1 or 2.
        drop_path_rate: probability to drop the residual branch of a sample in training.

    Shapes:
        (N, in_channels, H, W) to (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: int,
        kernel: int,
        stride: int,
        drop_path_rate: float,
    ) -> None:
        super().__init__()
        self.build(in_channels, expansion * in_channels, out_channels, kernel, stride)
        self.has_shortcut = stride == 1 and in_channels == out_channels
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate and self.has_shortcut else nn.Identity()

    def build(self, in_channels: int, channels: int, out_channels: int, kernel: int, stride: int) -> None:
        """Make the layers; ``channels`` is the width of the depthwise convolution."""
        raise NotImplementedError

    def branch(self, x: Tensor) -> Tensor:
        """The block without its shortcut."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """The branch, added to its input where there is a shortcut."""
        y = self.branch(x)
        return self.drop_path(y).add_(x) if self.has_shortcut else y
