"""Networks whose activations are known, and a pair for them."""

import numpy as np
import torch
from torch import nn


class Siamese(nn.Module):
    """z = sum_c v_c |A1_c - A2_c| of two 1x1 convolutions of the dates, as one batch or one by one."""

    def __init__(self, together):
        super().__init__()
        self.together = together
        self.encoder = nn.Conv2d(3, 4, 1)
        self.classifier = nn.Conv2d(4, 1, 1, bias=False)

    def forward(self, pairs):
        dates = pairs.chunk(2, dim=1)
        a1, a2 = self.encoder(torch.cat(dates)).chunk(2) if self.together else map(self.encoder, dates)
        return self.classifier((a1 - a2).abs())


class Model:
    """What a model has to offer, around a network that takes any input."""

    def __init__(self, network):
        torch.manual_seed(0)
        self.network = network
        for weight in network.parameters():
            nn.init.normal_(weight)

    def prepare(self, t1, t2):
        pair = torch.from_numpy(np.concatenate([t1, t2], axis=3)).permute(0, 3, 1, 2)
        return {'inputs': pair.float() / 255}

    def log_odds(self, batch):
        return self.network(batch['inputs'])[:, 0]


def pair_of(height=6, width=8, seed=0):
    t1, t2 = np.random.default_rng(seed).integers(0, 256, (2, 1, height, width, 3), dtype=np.uint8)
    return t1, t2
