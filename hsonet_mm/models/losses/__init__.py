"""Losses: EO-loss as a module and as functions, Dice and focal loss."""

from hsonet_mm.models.losses.dice_loss import BinaryDiceLoss, binary_dice_loss
from hsonet_mm.models.losses.eo_loss import (
    ANNEALING,
    EOLoss,
    EOWeighting,
    eo_loss,
    eo_weights,
)
from hsonet_mm.models.losses.eo_terms import EOTerms
from hsonet_mm.models.losses.focal_loss import BinaryFocalLoss, binary_focal_loss
from hsonet_mm.models.losses.running_training import training_progress

__all__ = [
    'ANNEALING',
    'BinaryDiceLoss',
    'BinaryFocalLoss',
    'EOLoss',
    'EOTerms',
    'EOWeighting',
    'binary_dice_loss',
    'binary_focal_loss',
    'eo_loss',
    'eo_weights',
    'training_progress',
]
