"""Reading options of a config, and the number of bands of its network."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading

__all__ = [
    'DATA_SETS',
    'LOADERS',
    'adapt_bands',
    'adapt_first_conv',
    'config_reading',
    'parts',
    'set_bands',
    'set_reading',
    'walk',
]

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
DATA_SETS = ('ChangeDataset', 'hsonet_mm.ChangeDataset')
_DISTORTION = 'MultiImgPhotoMetricDistortion'


def walk(node: Any) -> Iterator[Any]:
    """Every mapping in a part of a config at any depth, outer ones first."""
    if isinstance(node, Mapping):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for one in node:
            yield from walk(one)


def parts(cfg: Any, *types: str) -> list[Any]:
    """The parts of the data loaders of a config that have one of these types, also inside wrappers."""
    return [one for loader in LOADERS for one in walk(cfg.get(loader)) if one.get('type') in types]


def config_reading(cfg: Any) -> Reading:
    """The reading options of the first data set of a config that declares some."""
    for data_set in parts(cfg, *DATA_SETS):
        reading = Reading.make(data_set.get('bands'), data_set.get('stretch'), data_set.get('nodata'))
        if reading != Reading():
            return reading
    return Reading()


def set_reading(cfg: Any, reading: Reading) -> None:
    """Set how all data sets of a config read their files, and the number of bands of its network.

    Colours of other than three bands have neither hue nor saturation: their distortion keeps brightness and contrast.
    """
    declared = {key: value for key, value in reading.to_dict().items() if value is not None}
    if not declared:
        return
    found = parts(cfg, *DATA_SETS)
    if not found:
        raise UserError(
            f'{", ".join(f"--{key}" for key in declared)} needs data sets of type hsonet_mm.ChangeDataset, and '
            f'{cfg.filename} has none: change their type'
        )
    for data_set in found:
        data_set.update(declared)
        if reading.channels != 3:
            for step in data_set.get('pipeline', []):
                if str(step.get('type')).split('.')[-1] == _DISTORTION:
                    step['type'] = 'hsonet_mm.MultiImgBrightnessContrast'
                    for key in set(step) - {'type', 'brightness_delta', 'contrast_range'}:
                        del step[key]
    set_bands(cfg.model, reading.channels)


def set_bands(model: Any, channels: int) -> None:
    """Change a network for images of three bands to another number of bands.

    The backbone, a high-resolution branch and the split of the dates follow. Mean and deviation of every band are
    averages of those of red, green and blue [choice]: all bands are stretched to the same 8 bits. The first convolution
    takes ImageNet weights as :func:`adapt_bands` says. A model that says its number of bands itself stays as it is.
    """
    if channels == 3 or model.get('backbone_inchannels', 3) != 3:
        return
    model.backbone_inchannels = channels
    dates = model.backbone.get('in_channels', 3) // 3  # 2 where the backbone takes both at once
    model.backbone.in_channels = dates * channels
    if model.get('detail'):
        model.detail.in_channels = channels
    preprocessor = model.data_preprocessor
    preprocessor.bgr_to_rgb = preprocessor.rgb_to_bgr = False
    for name in ('mean', 'std'):
        if preprocessor.get(name) is not None:
            values = list(preprocessor[name])
            preprocessor[name] = [sum(values) / len(values)] * (2 * channels)


def adapt_bands(weight: Tensor, channels: int) -> Tensor:
    """Adapt the weight of a first convolution to another number of bands.

    Its filters are repeated in turn and scaled, so that the layer answers as strongly as before; a single band takes
    their sum. [choice: timm, ``adapt_input_conv``; it favours no order of the bands]

    Shapes:
        (out, bands, height, width) to (out, channels, height, width).
    """
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    bands = weight.shape[1]
    return weight[:, [band % bands for band in range(channels)]] * (bands / channels)


def adapt_first_conv(backbone: nn.Module, channels: int) -> None:
    """Make the first convolution of a backbone accept weights for three bands, see :func:`adapt_bands`.

    For 3 bands there is nothing to do.
    """
    convolutions = (module for module in backbone.modules() if isinstance(module, nn.Conv2d))
    first = next((conv for conv in convolutions if conv.in_channels == channels), None)
    if channels == 3 or first is None:
        return

    def adapt(state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
        weight = state_dict.get(f'{prefix}weight')
        if weight is not None and weight.shape[1] == 3:
            state_dict[f'{prefix}weight'] = adapt_bands(weight, channels)

    first._register_load_state_dict_pre_hook(adapt)
