"""What the command line does, as functions."""

from hsonet_mm.apis.detector import ChangeDetector, Prediction

__all__ = ['ChangeDetector', 'Prediction']
