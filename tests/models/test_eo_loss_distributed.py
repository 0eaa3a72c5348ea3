"""EO-loss over two real processes, by PyTorch's gloo backend."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from hsonet_mm.models.losses import EOWeighting, eo_loss

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
parts = {}
for channels, (logits, target) in torch.load(f'{folder}/channels.pth').items():
    for form in ('all', 'background'):
        rows = slice(2 * rank, 2 * rank + 2)
        own = logits[rows].clone().requires_grad_()
        loss, _ = eo_loss(own, target[rows], 0.3, EOWeighting(form, balance=0.5, balance_window=5))
        loss.backward()
        parts[form, channels] = loss.detach(), own.grad
torch.save(parts, f'{folder}/{rank}.pth')
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
def channels(batch):
    """Logits and targets of two images a process by channels; the processes hold 90 and 9 % of the valid pixels."""
    torch.manual_seed(0)
    cases = {}
    for count in (1, 2, 3):
        target = torch.randint(0, max(2, count), (4, 8, 8))
        target[1:, 2:] = 255
        target[2:, :, 3:] = 255
        cases[count] = torch.randn(4, count, 8, 8) * 3, target
    torch.save(cases, batch[0] / 'channels.pth')
    return cases


@pytest.fixture(scope='module')
def folder(batch, channels, tool_env):
    """Where each of the two processes left what it found."""
    folder = batch[0]
    assert channels
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
    return folder


@pytest.fixture(scope='module')
def ranks(folder):
    """What each of the two processes found, by form."""
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


@pytest.mark.parametrize('form', ['all', 'background'])
@pytest.mark.parametrize('count', [1, 2, 3])
def test_two_processes_have_the_loss_of_one(form, count, channels, folder):
    """Values and gradients, averaged as DistributedDataParallel does."""
    (loss_0, grad_0), (loss_1, grad_1) = (torch.load(folder / f'{rank}.pth')[form, count] for rank in (0, 1))
    logits, target = channels[count][0].clone().requires_grad_(), channels[count][1]
    loss, _ = eo_loss(logits, target, 0.3, EOWeighting(form, balance=0.5, balance_window=5))
    loss.backward()
    torch.testing.assert_close((loss_0 + loss_1) / 2, loss.detach())
    torch.testing.assert_close(torch.cat([grad_0, grad_1]) / 2, logits.grad)
    assert loss_0 != loss_1
