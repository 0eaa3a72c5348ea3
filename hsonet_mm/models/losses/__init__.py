"""Losses: EO-loss as a module and as functions, Dice and focal loss."""

from hsonet_mm.models.losses.dice_loss import BinaryDiceLoss
from hsonet_mm.models.losses.eo_loss import EOLoss
from hsonet_mm.models.losses.focal_loss import BinaryFocalLoss
from hsonet_mm.models.losses.functional import EOTerms, Weighing, eo_loss, eo_weights
from hsonet_mm.models.losses.schedule import SCHEDULES, training_progress

__all__ = [
    'SCHEDULES',
    'BinaryDiceLoss',
    'BinaryFocalLoss',
    'EOLoss',
    'EOTerms',
    'Weighing',
    'eo_loss',
    'eo_weights',
    'training_progress',
]
