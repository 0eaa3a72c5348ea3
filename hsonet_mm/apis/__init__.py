"""What the command line does, as functions."""

from hsonet_mm.apis.checkpoints import load_weights
from hsonet_mm.apis.predict import predict_paths
from hsonet_mm.apis.predictor import Prediction, Predictor

__all__ = ['Prediction', 'Predictor', 'load_weights', 'predict_paths']
