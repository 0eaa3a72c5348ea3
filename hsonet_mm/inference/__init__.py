"""Running trained models on images: from a checkpoint in PyTorch, or from an exported file without PyTorch."""

from hsonet_mm.inference.detector import ChangeDetector, Prediction

__all__ = ['ChangeDetector', 'Prediction']
