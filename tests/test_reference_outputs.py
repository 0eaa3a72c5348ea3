"""Every network computes what it did when it was compared with its model: stored logits.

The tests that compare networks with Open-CD's run only beside it; these notice a changed network everywhere, and beside
Open-CD its own networks give the same logits.
"""

import zlib

import numpy as np
import pytest
import torch

from hsonet_mm.model_size import build_untrained

# Mean and standard deviation of the logits (of change, less those of no change), and two of them.
EXPECTED = {
    'ablations/hsonet_levir_no_association': (-0.29495, 0.19631, -0.01957, 0.06807),
    'ablations/hsonet_levir_residual': (-0.15788, 0.20768, -0.10938, -0.19456),
    'ablations/hsonet_levir_shared_scene': (-0.25804, 0.21271, -0.09093, 0.35708),
    'ablations/hsonet_levir_unscaled': (-0.21294, 0.17276, -0.08193, 0.17662),
    'baselines/bit_r18': (0.34350, 0.64836, 0.44859, -1.20407),
    'baselines/changer_ex_r18': (-0.00127, 0.70789, -0.98374, -0.68586),
    'baselines/farseg_r18': (0.90855, 0.54126, 0.16929, 1.59769),
    'baselines/fc_ef': (0.67226, 0.71871, 0.03264, 0.44171),
    'baselines/fc_siam_conc': (1.03964, 0.99617, 2.51015, 0.41035),
    'baselines/fc_siam_diff': (0.83144, 0.67833, 0.02365, 0.01564),
    'baselines/snunet_c16': (0.98143, 0.64728, 0.99139, 0.66797),
    'baselines/tinycd': (0.13451, 0.69914, 0.62550, -0.31757),
    'baselines/unet_lite0': (-0.06956, 0.06291, -0.05236, -0.03503),
    'baselines/unet_r18': (-0.04872, 0.10090, 0.00567, 0.08185),
    'baselines/ussfc_net': (-0.78340, 0.61135, -0.18774, -2.08625),
    'hsonet_levir': (-0.22131, 0.17610, -0.07104, 0.14314),
    'hsonet_lite_levir': (-0.27453, 0.15127, -0.22034, -0.53463),
    'hsonet_pvtv2_b1_levir': (-0.18373, 0.15989, -0.06918, -0.00984),
    'hsonet_r50_levir': (-0.48603, 0.29053, -0.20157, 0.03647),
}  # fmt: skip


def uniform(name, shape):
    """Numbers in [-0.5, 0.5) that depend on the name alone."""
    values = np.random.default_rng(zlib.crc32(name.encode())).random(tuple(shape)) - 0.5
    return torch.from_numpy(values).float()


def filled(network):
    """The network with weights that keep the size of what passes through."""
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith('running_var') or (value.ndim == 1 and name.endswith('weight')):
            value.copy_(1 + uniform(name, value.shape))
        elif value.ndim > 1:
            value.copy_(uniform(name, value.shape) * (14 / value[0].numel()) ** 0.5)
        elif value.is_floating_point():
            value.copy_(0.2 * uniform(name, value.shape))
    return network.eval()


@torch.no_grad()
def logits_of(config):
    network = filled(build_untrained(config))
    network.data_preprocessor.to('cpu')
    logits = network.encode_decode(4 * uniform('pair', (1, 6, 64, 64)), [{'img_shape': (64, 64)}])[0]
    return logits[0] if len(logits) == 1 else logits[1] - logits[0]


@pytest.mark.parametrize('config', EXPECTED)
def test_logits(repo, config):
    logits = logits_of(repo / 'configs' / f'{config}.py')
    actual = (logits.mean(), logits.std(), logits[3, 5], logits[40, 21])
    assert [float(x) for x in actual] == pytest.approx(EXPECTED[config], rel=1e-3, abs=2e-4)
