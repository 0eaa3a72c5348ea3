"""EO-loss over two real processes, by PyTorch's gloo backend."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

pytestmark = [
    pytest.mark.any_host,
    pytest.mark.skipif(not torch.distributed.is_available(), reason='this PyTorch has no torch.distributed'),
]

SCRIPT = """
import json, sys
import torch
import torch.distributed as dist
from hsonet_mm.models.losses import EOWeighting, eo_loss

rank, folder, *forms = sys.argv[1:]
rank, found = int(rank), {}
dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
batch = torch.load(f'{folder}/batch.pth')
for form in forms:
    pred = batch['pred'][rank : rank + 1].clone().requires_grad_()
    loss, terms = eo_loss(pred, batch['target'][rank : rank + 1], 0.3, EOWeighting(form, top_share=0.25))
    loss.backward()
    found[form] = {'loss': loss.item(), 'z': terms.normaliser.item(), 'gradient': pred.grad.flatten().tolist()}
with open(f'{folder}/{rank}.json', 'w') as file:
    json.dump(found, file)
dist.destroy_process_group()
"""

FORMS = ('all', 'top_share')


@pytest.fixture(scope='module')
def batch(tmp_path_factory):
    """Folder, logits and targets of two processes with an image each."""
    folder = tmp_path_factory.mktemp('distributed')
    (folder / 'rank.py').write_text(SCRIPT)
    generator = torch.Generator().manual_seed(0)
    pred = 3 * torch.randn(2, 1, 4, 6, generator=generator, dtype=torch.float64)
    target = (torch.rand(2, 4, 6, generator=generator) > 0.7).long()
    target[0, 0, :5] = 255  # the processes have unequal numbers of pixels
    torch.save({'pred': pred, 'target': target}, folder / 'batch.pth')
    return folder, pred[:, 0].numpy(), target.numpy()


@pytest.fixture(scope='module')
def ranks(batch, tool_env):
    """What each of the two processes found, by form."""
    folder = batch[0]
    processes = [
        subprocess.Popen(
            [sys.executable, folder / 'rank.py', str(rank), str(folder), *FORMS],
            env=tool_env,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    return [json.loads((folder / f'{rank}.json').read_text()) for rank in range(2)]


@pytest.mark.parametrize('form', FORMS)
def test_the_mean_over_processes_is_the_loss_of_the_whole_batch(form, batch, ranks):
    """By hand: h from all pixels, or by each process from its own largest losses; one Z over both."""
    _, z, y = batch
    found = [rank[form] for rank in ranks]

    known = y != 255
    margin = np.where(y == 1, z, -z)
    losses, errors = np.log1p(np.exp(-margin)) * known, known / (1 + np.exp(margin))
    if form == 'all':
        hardness = (errors / errors.max()) ** 2
    else:
        hardness = np.zeros_like(losses)
        for part, own, pixels in zip(hardness, losses, known, strict=True):
            hard = round(0.25 * pixels.sum())
            part[own >= np.sort(own, axis=None)[-hard]] = 1
            assert part.sum() == hard
        assert hardness[0].sum() != hardness[1].sum()
    normaliser = losses.sum() / (hardness * losses).sum()
    weights = 0.3 + 0.7 * normaliser * hardness
    slope = np.where(y == 1, -1, 1) * errors
    expected = known * weights * slope / known.sum()

    assert [rank['z'] for rank in found] == pytest.approx([normaliser] * 2)
    assert np.mean([rank['loss'] for rank in found]) == pytest.approx(losses.sum() / known.sum())
    # DistributedDataParallel takes the mean over the processes.
    gradient = np.concatenate([rank['gradient'] for rank in found]) / 2
    np.testing.assert_allclose(gradient, expected.ravel(), rtol=1e-9, atol=1e-12)
