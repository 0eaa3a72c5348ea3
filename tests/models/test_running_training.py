"""EO-loss in a training: its progress, and what it writes to the log."""

import copy

import pytest
from losses import FARSEG, close, gradient, make_batch, plain
from mmengine.logging import MessageHub

from hsonet_mm.models.losses import EOLoss, eo_loss, training_progress
from hsonet_mm.models.losses.running_training import running_training


class TestProgress:
    def test_is_read_from_the_message_hub(self, training):
        hub = training(30, 120)
        assert running_training() is hub
        assert training_progress() == 0.25

    @pytest.mark.usefixtures('outside')
    def test_outside_a_training(self):
        pred, target = make_batch()
        assert running_training() is None
        with pytest.raises(RuntimeError, match=r"needs progress=.*schedule='constant'"):
            EOLoss()(pred, target)

    def test_after_a_training(self, training):
        """MMEngine leaves the last iteration in the hub; a loop of one's own must not go on from there."""
        training(100, 100).pop_info('loop_stage')
        with pytest.raises(RuntimeError, match='needs progress='):
            EOLoss()(*make_batch())

    def test_of_several_runners_the_own_one_counts(self, training):
        """The current hub is that of the runner that was made last, not of the one that trains."""
        pred, target = make_batch()
        hub = training(50, 100)
        module = EOLoss(schedule='linear', **FARSEG)
        later = MessageHub.get_instance('test_eo_loss_later')
        later.update_info_dict({'iter': 99, 'max_iters': 100, 'loop_stage': 'train'})
        actual = gradient(copy.deepcopy(module)(pred, target), pred)
        close(actual, gradient(eo_loss(pred, target, 0.5)[0], pred))
        training(49, 100)
        module(pred, target)
        assert 'train/eo_zeta' in hub.log_scalars
        assert not later.log_scalars

    def test_a_loss_of_before_follows_the_training(self, training):
        """One that was made before the runner, for instance with a model that is given to it."""
        pred, target = make_batch()
        training(100, 100).pop_info('loop_stage')
        module = EOLoss(schedule='linear', **FARSEG)
        later = MessageHub.get_instance('test_eo_loss_later')
        later.update_info_dict({'iter': 50, 'max_iters': 100, 'loop_stage': 'train'})
        close(gradient(module(pred, target), pred), gradient(eo_loss(pred, target, 0.5)[0], pred))

    @pytest.mark.usefixtures('outside')
    def test_constant_needs_no_training(self):
        pred, target = make_batch()
        close(EOLoss(schedule='constant', **FARSEG)(pred, target), plain(pred, target))

    def test_module_follows_the_training(self, training):
        pred, target = make_batch()
        training(50, 100)
        module = EOLoss(schedule='linear', **FARSEG)
        actual = gradient(module(pred, target), pred)
        close(actual, gradient(eo_loss(pred, target, 0.5)[0], pred))
        close(actual, gradient(module(pred, target, progress=0.5), pred))


class TestLog:
    KEYS = ('zeta', 'Z', 'grad_foreground', 'grad_hard_background', 'grad_easy_background', 'grad_edges')

    def test_every_tenth_step(self, training):
        pred, target = make_batch()
        module, logged = EOLoss(schedule='linear', **FARSEG), []
        for step in range(21):
            hub = training(step, 40)
            before = (
                len(hub.log_scalars['train/eo_zeta'].data[0]) if 'train/eo_zeta' in hub.log_scalars else 0
            )
            module(pred, target)
            after = len(hub.log_scalars['train/eo_zeta'].data[0]) if 'train/eo_zeta' in hub.log_scalars else 0
            if after > before:
                logged.append(step)
        assert logged == [0, 9, 19]
        assert set(hub.log_scalars) == {f'train/eo_{key}' for key in self.KEYS}
        _, terms = eo_loss(pred, target, 1 - 19 / 40)
        expected = {'zeta': 1 - 19 / 40, 'Z': terms.normaliser, **terms.gradient_shares()}
        for key, value in expected.items():
            assert hub.get_scalar(f'train/eo_{key}').current() == pytest.approx(float(value))

    def test_not_in_eval(self, training):
        pred, target = make_batch()
        hub = training(9, 40)
        EOLoss().eval()(pred, target)
        assert not hub.log_scalars

    @pytest.mark.usefixtures('outside')
    def test_not_outside_a_training(self):
        EOLoss()(*make_batch(), progress=0.5)
        assert not MessageHub.get_current_instance().log_scalars

    def test_two_losses_have_two_names(self, training):
        hub = training(0, 40)
        for loss, seed in ((EOLoss(**FARSEG), 0), (EOLoss(**FARSEG, loss_name='loss_aux_eo'), 1)):
            pred, target = make_batch(seed=seed)
            loss(pred, target)
            shares = eo_loss(pred, target, 1.0)[1].gradient_shares()
            logged = hub.get_scalar(f'train/{loss.loss_name[5:]}_grad_foreground').current()
            assert logged == pytest.approx(float(shares['grad_foreground']))
        assert set(hub.log_scalars) == {
            f'train/{name}_{key}' for name in ('eo', 'aux_eo') for key in self.KEYS
        }
