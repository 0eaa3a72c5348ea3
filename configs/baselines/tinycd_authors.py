"""TinyCD (arXiv 2207.13159) with its authors' classifier, so that the weights that they have published fit."""

from mmengine.config import read_base

with read_base():
    from .tinycd import *

model.backbone.type = 'hsonet_mm.TinyCD'  # Open-CD's has no other classifier
model.backbone.classifier = 'authors'
