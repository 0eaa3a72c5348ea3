"""Change detectors."""

from hsonet_mm.models.detectors.siam_encoder_decoder import SiamEncoderDecoder

__all__ = ['SiamEncoderDecoder']
