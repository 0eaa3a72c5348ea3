"""Loading weights: names of wrappers, averaged models, other numbers of bands, the threshold they carry."""

import pytest
import torch
from torch import nn

from hsonet_mm.checkpoints import load_fitting, load_weights, read_checkpoint
from hsonet_mm.errors import UserError


class Network(nn.Module):
    """A network of `bands` a date; `dates=2` sees them stacked."""

    def __init__(self, bands=3, classes=1, dates=1):
        super().__init__()
        self.data_preprocessor = nn.Module()
        self.data_preprocessor.register_buffer('mean', torch.zeros(2 * bands, 1, 1), persistent=False)
        self.backbone = nn.Conv2d(bands * dates, 4, 3)
        self.decode_head = nn.Conv2d(4, classes, 1)


@pytest.fixture
def save(tmp_path):
    def write(content):
        torch.save(content, tmp_path / 'w.pth')
        return tmp_path / 'w.pth'

    return write


def state(*args):
    torch.manual_seed(1)
    return Network(*args).state_dict()


def assert_loaded(model, expected):
    assert all(torch.equal(weight, expected[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize(
    'prefix', ['', 'module.', '_orig_mod.', 'model.', 'ema_model.', 'module._orig_mod.', 'ema_model.module.']
)
@pytest.mark.parametrize('key', [None, 'state_dict', 'model_state_dict'])
def test_names_of_wrappers_are_left_out(prefix, key, save):
    weights = {prefix + name: value for name, value in state().items()}
    model = Network()
    load_weights(model, save(weights if key is None else {key: weights}))
    assert_loaded(model, state())


def test_part_that_was_compiled(save):
    model = Network()
    load_weights(model, save({name.replace('.', '._orig_mod.'): value for name, value in state().items()}))
    assert_loaded(model, state())


@pytest.mark.parametrize('prefix', ['', 'module.', 'model.'])
def test_network_without_the_detector_around_it(prefix, save):
    """All weights are in one part, whose name the file lacks; a model of two parts is not guessed at."""
    weights = {f'{prefix}{name}': value for name, value in nn.Conv2d(3, 4, 3).state_dict().items()}
    detector = nn.ModuleDict({'backbone': nn.Conv2d(3, 4, 3), 'head': nn.Identity()})
    load_weights(detector, save(weights))
    assert_loaded(detector, {f'backbone.{name.removeprefix(prefix)}': w for name, w in weights.items()})
    with pytest.raises(UserError, match='does not fit the model'):
        load_weights(Network(), save(weights))


def test_average_is_taken_before_the_model(save):
    mixed = {f'model.{name}': torch.zeros_like(value) for name, value in state().items()}
    mixed |= {f'ema_model.module.{name}': value for name, value in state().items()}
    model = Network()
    load_weights(model, save({'ema_model.steps': torch.tensor(7), **mixed}))
    assert_loaded(model, state())


@pytest.mark.parametrize('counter', ['steps', 'n_averaged'])
def test_averaged_model_alone(counter, save):
    weights = {counter: torch.tensor(7), **{f'module.{name}': value for name, value in state().items()}}
    model = Network()
    load_weights(model, save(weights))
    assert_loaded(model, state())


def test_what_does_not_fit_is_refused_and_named(save):
    with pytest.raises(UserError, match=r'decode_head.weight is \[2, 4, 1, 1\] in the file .*--init-from'):
        load_weights(Network(), save(state(3, 2)))
    with pytest.raises(UserError, match='the model does not have 1 weight, first other'):
        load_weights(Network(), save({**state(), 'other': torch.zeros(1)}))


def test_counters_of_batches_may_be_missing(save):
    model = nn.Sequential(nn.BatchNorm2d(3))
    weights = {'0.weight': torch.rand(3), '0.bias': torch.rand(3), '0.running_mean': torch.rand(3)}
    with pytest.raises(UserError, match=r'the file lacks 1 weight, first 0\.running_var'):
        load_weights(model, save(weights))
    weights['0.running_var'] = torch.rand(3)
    load_weights(model, save(weights))
    assert_loaded(model, weights | {'0.num_batches_tracked': torch.tensor(0)})


def test_a_file_without_weights_is_told_with_its_keys(save):
    with pytest.raises(UserError, match=r'contains no weights, only net, epoch: give'):
        load_weights(Network(), save({'net': state(), 'epoch': 3}))


def test_fitting_keeps_and_lists_the_rest(save):
    model = Network()
    before = model.decode_head.bias.clone()
    given = state(3, 2)
    fit = load_fitting(model, save({**given, 'other': torch.zeros(1)}))
    assert torch.equal(model.backbone.weight, given['backbone.weight'])
    assert torch.equal(model.decode_head.bias, before)
    assert fit.loaded == 2
    assert [line.split()[0] for line in fit.kept] == ['decode_head.weight', 'decode_head.bias']
    assert fit.unused == ['other']


@pytest.mark.parametrize('dates', [1, 2])
def test_first_convolution_for_more_bands(dates, save):
    """Images of equal bands give the same response, whatever the number of bands; dates do not mix."""
    model = Network(5, dates=dates)
    fit = load_fitting(model, save(state(3, 1, dates)))
    assert [line.split()[0] for line in fit.adapted] == ['backbone.weight']
    given = state(3, 1, dates)['backbone.weight'].unflatten(1, (dates, 3))
    wide = model.backbone.weight.unflatten(1, (dates, 5))
    torch.testing.assert_close(wide, given[:, :, [0, 1, 2, 0, 1]] * 3 / 5)
    old = Network(3, dates=dates)
    value = torch.ones(1, dates, 1, 3, 3) * torch.tensor([0.3, -0.7][:dates])[:, None, None, None]
    grey = [value.expand(1, dates, bands, 3, 3).flatten(1, 2) for bands in (3, 5)]
    # five bands hold the first two of three twice: equal where these three weigh the same
    even = {name: w.unflatten(1, (dates, 3)).mean(2, keepdim=True).expand(-1, -1, 3, -1, -1).flatten(1, 2)
            for name, w in state(3, 1, dates).items() if name == 'backbone.weight'}  # fmt: skip
    load_fitting(model, save({**state(3, 1, dates), **even}))
    load_weights(old, save({**state(3, 1, dates), **even}))
    torch.testing.assert_close(model.backbone(grey[1]), old.backbone(grey[0]))


def test_nothing_fits(save):
    with pytest.raises(UserError, match='no weight of'):
        load_fitting(Network(), save({'a': torch.zeros(1)}))


def test_threshold(save):
    noted = {'value': 0.25, 'f1': 0.5, 'iter': 40}
    path = save({'state_dict': state(), 'meta': {'val_threshold': noted}})
    assert read_checkpoint(path).threshold == (0.25, 'of validation at iteration 40, in w.pth')
    assert read_checkpoint(save(state())).threshold is None
    path = save({'state_dict': state(), 'meta': {'val_threshold': {**noted, 'value': 7.0}}})
    with pytest.raises(UserError, match=r'^invalid threshold 7\.0 in the checkpoint'):
        _ = read_checkpoint(path).threshold


def test_a_folder_is_named_as_one(tmp_path):
    with pytest.raises(UserError, match=r'is a folder: give a \.pth file'):
        read_checkpoint(tmp_path)


def test_a_misspelt_packaged_model_names_those_there_are():
    with pytest.raises(
        UserError, match=r'^the checkpoint bildings does not exist: .*packaged model \(buildings\)$'
    ):
        read_checkpoint('bildings')


def test_torchscript_is_named_as_such(tmp_path):
    torch.jit.script(nn.Linear(1, 1)).save(tmp_path / 'model.pt')
    with pytest.raises(UserError, match=r'model\.pt is a TorchScript program, not a checkpoint'):
        read_checkpoint(tmp_path / 'model.pt')
