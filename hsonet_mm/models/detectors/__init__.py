"""Change detectors."""

from hsonet_mm.models.detectors.change_tta_model import ChangeTTAModel
from hsonet_mm.models.detectors.pair_encoder_decoder import PairEncoderDecoder
from hsonet_mm.models.detectors.siam_encoder_decoder import SiamEncoderDecoder

__all__ = ['ChangeTTAModel', 'PairEncoderDecoder', 'SiamEncoderDecoder']
