"""Results of one network on one pair."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hsonet_mm.errors import UserError
from hsonet_mm.explain.activations import Layer, find_layer, layers, relation_maps
from hsonet_mm.explain.cam import grad_cam
from hsonet_mm.explain.networks import Network, prepare_pair
from hsonet_mm.images import ImagePair
from hsonet_mm.inference.detector import Prediction
from hsonet_mm.inference.window_choice import WHOLE_PIXELS

__all__ = ['View', 'look']


@dataclass(frozen=True)
class View:
    """Results of one network on one pair.

    Attributes:
        relations: Relation maps by level, (2, H_i, W_i) of both dates; empty without association.
        padded: Height and width that they cover: those of the image, padded.
        layer: The layer of Grad-CAM.
        cam: Grad-CAM by map of the layer, (H, W).
        scored: Pixels whose log-odds Grad-CAM is of, in words.
    """

    network: Network
    pair: ImagePair
    prediction: Prediction
    relations: dict[str, Tensor]
    padded: tuple[int, int]
    layer: Layer
    cam: dict[str, NDArray[np.float32]]
    scored: str

    @property
    def silent(self) -> bool:
        """Whether Grad-CAM is 0 everywhere."""
        return not any(values.any() for values in self.cam.values())


def look(network: Network, pair: ImagePair, layer: str | None = None) -> View:
    """Predict a pair and compute relation maps and Grad-CAM.

    Raises:
        UserError: if the pair is too large to look at as a whole, or there is no such layer.

    Example:
        >>> from pathlib import Path
        >>> from hsonet_mm.explain.networks import open_network
        >>> import tempfile, torch
        >>> from hsonet_mm.model_size import build_untrained
        >>> config, checkpoint = Path('configs/hsonet_lite_levir.py'), Path(tempfile.mkdtemp(), 'untrained.pth')
        >>> torch.save(build_untrained(config).state_dict(), checkpoint)
        >>> network = open_network('untrained', config, checkpoint)
        >>> view = look(network, ImagePair(*np.zeros((2, 64, 64, 3), np.uint8), None))
        >>> list(view.relations), list(view.cam)
        (['p2', 'p3', 'p4', 'p5'], ['before', 'after'])
    """
    height, width = pair.t1.shape[:2]
    if height * width > WHOLE_PIXELS:
        raise UserError(
            f'the images of {width} x {height} pixels exceed the limit of {WHOLE_PIXELS:,} pixels of '
            'hsonet explain: crop the area of interest'
        )
    prediction = network.detector.predict_pair(pair)
    batch = prepare_pair(network, pair)
    chosen = find_layer(layers(network.model, batch), layer)
    changed = prediction.mask.any()
    where = prediction.mask if changed else prediction.valid
    return View(
        network,
        pair,
        prediction,
        relation_maps(network.model, batch),
        tuple(batch['inputs'].shape[2:]),
        chosen,
        grad_cam(network.model, batch, chosen, where),
        'the pixels predicted as changed' if changed else 'all pixels, because none is predicted as changed',
    )
