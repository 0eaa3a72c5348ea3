"""What ``hsonet explain`` shows: relation maps, Grad-CAM, features of hard background, and its page."""

import re
import shutil
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip('captum')
pytest.importorskip('sklearn')
pytest.importorskip('matplotlib')

from hsonet_mm.datasets.labelled_pairs import LabelledPair
from hsonet_mm.errors import UserError
from hsonet_mm.explain.activations import classifier_input, find_layer, layers, relation_maps
from hsonet_mm.explain.cam import grad_cam
from hsonet_mm.explain.features import KINDS, PixelSample, choose_pixels, embed, features_of
from hsonet_mm.explain.figures import shares_figure
from hsonet_mm.explain.networks import open_network, prepare_pair
from hsonet_mm.explain.page import movement
from hsonet_mm.images import ImagePair
from hsonet_mm.models.layers import SceneAssociation


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


@pytest.mark.parametrize('together', [True, False])
def test_grad_cam_equals_its_definition(together):
    model = Model(Siamese(together))
    batch = model.prepare(*pair_of())
    where = np.zeros((6, 8), bool)
    where[2:5, 1:4] = True
    found = layers(model, batch)
    layer = find_layer(found)
    assert (layer.name, layer.maps, layer.calls) == ('encoder', ('before', 'after'), 1 if together else 2)

    w, b = (one.detach().numpy() for one in model.network.encoder.parameters())
    v = model.network.classifier.weight.detach().numpy().ravel()
    x1, x2 = batch['inputs'].numpy()[0].reshape(2, 3, 6, 8)
    a1, a2 = (np.einsum('cd,dyx->cyx', w[:, :, 0, 0], x) + b[:, None, None] for x in (x1, x2))
    gradient = (
        v[:, None, None] * np.sign(a1 - a2) * where / where.sum()
    )  # of the mean over `where`, by a1; by a2 its negative
    expected = {
        name: np.maximum((sign * gradient.mean(axis=(1, 2), keepdims=True) * a).sum(axis=0), 0)
        for name, sign, a in (('before', 1, a1), ('after', -1, a2))
    }
    cam = grad_cam(model, batch, layer, where)
    assert list(cam) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(cam[name], values, rtol=1e-4, atol=1e-7)
    assert any(values.any() for values in expected.values())
    assert not model.network.encoder._forward_hooks


def test_maps_that_do_not_matter_are_zero():
    class Deaf(Siamese):
        def forward(self, pairs):
            t1, t2 = pairs.chunk(2, dim=1)
            self.encoder(t2)
            return self.classifier(self.encoder(t1))

    model = Model(Deaf(False))
    batch = model.prepare(*pair_of())
    found = layers(model, batch)
    assert found['encoder'].maps == ('after', 'before')  # in the order of the calls
    cam = grad_cam(model, batch, found['encoder'], np.ones((6, 8), bool))
    assert not cam['after'].any()
    assert cam['before'].any()


def test_layers_know_their_dates():
    model = Model(Siamese(True))
    found = layers(model, model.prepare(*pair_of()))
    assert {name: layer.maps for name, layer in found.items()} == {
        'encoder': ('before', 'after'),
        'classifier': ('both dates',),
    }
    early = nn.Sequential(nn.Conv2d(6, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Conv2d(5, 5, 1))
    mixed = Model(nn.Sequential(nn.Conv2d(6, 5, 1), nn.ReLU(), nn.Conv2d(5, 1, 1)))
    found = layers(mixed, mixed.prepare(*pair_of()))
    assert find_layer(found).name == '1'  # no layer keeps the dates apart: the last before the classifier
    pooled = Model(early)
    assert list(layers(pooled, pooled.prepare(*pair_of()))) == ['0']  # single values are no maps


def test_unknown_layer_names_those_there_are():
    model = Model(nn.Sequential(nn.Sequential(nn.Conv2d(6, 5, 1), nn.ReLU()), nn.Conv2d(5, 1, 1)))
    found = layers(model, model.prepare(*pair_of()))
    with pytest.raises(UserError, match=r"^invalid --layer '7': expected .* such as 0, 1, or"):
        find_layer(found, '7')
    assert find_layer(found, '0.1').name == '0.1'


@pytest.fixture(scope='module')
def tiny_network(tiny_checkpoint):
    return open_network('tiny', *tiny_checkpoint)


@pytest.fixture
def tiny_pair(tiny_data):
    """An 80 x 272 pair, which the network pads to 96 x 288."""
    return ImagePair(
        *(cv2.imread(str(tiny_data / 'test' / date / '0.png'))[..., ::-1] for date in 'AB'), None
    )


def test_relation_maps_are_those_of_the_head(tiny_network, tiny_pair):
    model, batch = tiny_network.model, prepare_pair(tiny_network, tiny_pair)
    (association,) = (one for one in model.network.modules() if isinstance(one, SceneAssociation))
    outputs = {}
    handles = [
        one.register_forward_hook(lambda module, _, output: outputs.setdefault(module, output))
        for one in (*association.scene_encoders, *association.content_encoders)
    ]
    maps = relation_maps(model, batch)
    for handle in handles:
        handle.remove()
    assert list(maps) == ['p2', 'p3', 'p4', 'p5']
    for (level, relation), scene, content in zip(
        maps.items(), association.scene_encoders, association.content_encoders, strict=True
    ):
        stride = 2 ** int(level[1])
        assert relation.shape == (2, 96 // stride, 288 // stride)
        dots = np.einsum('nc,nchw->nhw', outputs[scene][..., 0, 0].detach(), outputs[content].detach())
        np.testing.assert_allclose(relation, 1 / (1 + np.exp(-dots)), rtol=1e-4)
    turned = relation_maps(model, prepare_pair(tiny_network, ImagePair(tiny_pair.t2, tiny_pair.t1, None)))
    for level, relation in maps.items():
        torch.testing.assert_close(turned[level], relation.flip(0))


def test_no_relation_to_the_scene_is_one_half(tiny_checkpoint, tiny_pair):
    network = open_network('tiny', *tiny_checkpoint)
    for name, weight in network.model.network.named_parameters():
        if re.search(r'scene_encoders\.\d+\.2\.', name):
            nn.init.zeros_(weight)
    maps = relation_maps(network.model, prepare_pair(network, tiny_pair))
    assert len(maps) == 4
    assert all((relation == 0.5).all() for relation in maps.values())


def test_log_odds_are_those_of_the_prediction(tiny_network, tiny_pair):
    with torch.no_grad():
        log_odds = tiny_network.model.log_odds(prepare_pair(tiny_network, tiny_pair))[0]
    probs = tiny_network.detector.predict_pair(tiny_pair).probs
    np.testing.assert_allclose(log_odds.sigmoid(), probs, atol=1e-6)


def cloud(distance, seed=0, number=40):
    """Three groups of points of standard deviation 1, so far from the origin, in 3 channels of unequal units."""
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(3), number)
    points = rng.normal(size=(3 * number, 3)) + distance * np.eye(3)[kind]
    return (points * [1, 1000, 1e-3]).astype(np.float32), kind


def test_silhouette_tells_groups_from_chance():
    features, kind = cloud(20)
    apart = embed(features, kind)
    assert apart.silhouette > 0.8
    assert set(apart.by_kind) == set(KINDS)
    assert np.mean(list(apart.by_kind.values())) == pytest.approx(apart.silhouette)  # kinds of one size
    assert apart.points.shape == (120, 2)
    shuffled = embed(features, np.random.default_rng(1).permutation(kind))
    assert abs(shuffled.silhouette) < 0.1
    np.testing.assert_array_equal(embed(features, kind).points, apart.points)


def test_units_of_channels_do_not_matter():
    features, kind = cloud(3)
    scaled = embed(features * np.float32([5, 0.1, 100]), kind)
    assert scaled.silhouette == pytest.approx(embed(features, kind).silhouette, abs=1e-4)


def network_of(model=None, probs=None):
    """A network with given probabilities."""
    detector = SimpleNamespace(probs=lambda t1, t2, **_: probs(t1) if probs else None, model=model)  # noqa: ARG005
    return SimpleNamespace(detector=detector, model=model)


def labelled(probability, target):
    """A pair whose first date holds its probability of change in percent."""
    t1 = np.repeat(np.round(100 * probability).astype(np.uint8)[..., None], 3, axis=2)
    return LabelledPair(t1, np.zeros_like(t1), target.astype(np.uint8))


PERCENT = network_of(probs=lambda t1: t1[..., 0].astype(np.float32) / 100)


def test_pixels_by_kind():
    """Left changed, with ignored pixels in it; a false alarm of 30 pixels; the rest is easy."""
    target, probs = np.zeros((20, 30)), np.full((20, 30), 0.1)
    target[:, :10], target[0, :5] = 1, 255
    probs[10:15, 20:26] = 0.9
    chosen = choose_pixels([PERCENT], [labelled(probs, target)] * 2, count=50)
    kinds = {name: (chosen.kind == index) for index, name in enumerate(KINDS)}
    assert {name: int(where.sum()) for name, where in kinds.items()} == dict.fromkeys(KINDS, 50)
    at = chosen.row, chosen.column
    assert (target[at][kinds['foreground']] == 1).all()
    assert (chosen.column[kinds['foreground']] < 8).all()  # not within 2 pixels of the outline
    assert (chosen.column[~kinds['foreground']] >= 12).all()
    assert (probs[at][kinds['hard background']] == 0.9).all()  # 60 there are
    assert (probs[at][kinds['easy background']] == 0.1).all()
    assert (np.diff(chosen.pair) >= 0).all()
    assert set(chosen.pair) == {0, 1}
    again = choose_pixels([PERCENT], [labelled(probs, target)] * 2, count=50)
    assert all((getattr(again, name) == getattr(chosen, name)).all() for name in ('pair', 'row', 'column'))
    other = choose_pixels([PERCENT], [labelled(probs, target)] * 2, count=50, seed=1)
    assert (other.row != chosen.row).any()


def test_too_few_false_alarms_are_filled_up_by_the_likeliest():
    target, probs = np.zeros((20, 30)), np.full((20, 30), 0.1)
    target[:, :10] = 1
    probs[5, 20:25], probs[12, 15:25] = 0.8, 0.3
    chosen = choose_pixels([PERCENT], [labelled(probs, target)], count=12)
    hard = np.sort(probs[chosen.row, chosen.column][chosen.kind == 1])
    np.testing.assert_allclose(hard, [0.3] * 7 + [0.8] * 5)
    spots = set(zip(chosen.row, chosen.column, strict=True))
    assert len(spots) == 36  # none is hard and easy at once


def test_networks_are_compared_on_mean_probabilities():
    """What either is half sure of is hard where their mean exceeds 0.5."""
    target, probs = np.zeros((20, 30)), np.full((20, 30), 0.1)
    target[:, :10] = 1
    probs[5:9, 20:25] = 0.6
    sure = network_of(probs=lambda t1: np.where(t1[..., 0] == 60, 0.55, 0).astype(np.float32))
    chosen = choose_pixels([PERCENT, sure], [labelled(probs, target)], count=15)
    assert (probs[chosen.row, chosen.column][chosen.kind == 1] == 0.6).all()


def test_split_without_a_kind_is_refused():
    with pytest.raises(UserError, match='0 pixels of foreground away from the outlines of labels'):
        choose_pixels([PERCENT], [labelled(np.full((9, 9), 0.1), np.zeros((9, 9)))])


def test_features_are_those_at_the_pixels():
    """The network averages over 4 x 4 pixels and classifies; its features are known at every pixel."""
    model = Model(nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(6, 1, 1)))
    t1, t2 = pair_of(8, 12)
    pairs = [LabelledPair(t1[0], t2[0], np.zeros((8, 12), np.uint8))] * 2
    pixels = PixelSample(*np.array([[0, 1, 1], [0, 3, 4], [0, 4, 11], [0, 1, 2]]))
    features, relations = features_of(network_of(model), pairs, pixels)
    assert relations == {}
    cells = np.concatenate([t1, t2], axis=3)[0].reshape(2, 4, 3, 4, 6).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(features, [cells[0, 0], cells[0, 1], cells[1, 2]], rtol=1e-5)


def test_classifier_input_of_the_tiny_network(tiny_network, tiny_pair):
    """Classified by hand, the features give the log-odds of the finest map."""
    model, batch = tiny_network.model, prepare_pair(tiny_network, tiny_pair)
    head = model.network.decode_head
    with torch.no_grad():
        expected = head(model.network.extract_feat(batch['inputs']))[0]
        torch.testing.assert_close(head.conv_seg(classifier_input(model, batch)[None])[0], expected)


LOG = [
    {'step': step, 'eo_grad_foreground': share, 'eo_grad_hard_background': 0.75 - share,
     'eo_grad_easy_background': 0.25}
    for step, share in ((10, 0.5), (20, 0.25), (30, 0.25), (40, 0.25), (50, 0.0))
]  # fmt: skip


def test_movement_of_the_gradient():
    assert movement([{'step': 5, 'loss': 1.0}, *LOG]) == [
        ('foreground', 50, 0),
        ('hard background', 25, 75),
        ('easy background', 25, 25),
    ]
    assert movement([{'step': 5, 'loss': 1.0}]) == []


def test_plot_of_the_gradient():
    axes = shares_figure(LOG, [20, 50]).axes[0]
    assert [line.get_xdata()[0] for line in axes.lines] == [20, 50]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        'foreground', 'hard background', 'easy background', 'snapshots',
    ]  # fmt: skip
    with_edges = [{**one, 'eo_grad_edges': 0.5} for one in LOG]
    assert shares_figure(with_edges, []).axes[0].lines[0].get_ydata().tolist() == [50] * 5
    assert shares_figure([{'step': 5}], []) is None


@pytest.fixture
def images(tiny_data):
    return tiny_data / 'test/A/0.png', tiny_data / 'test/B/0.png'


def test_page_of_a_pair(tiny_checkpoint, images, hsonet, tmp_path):
    command = 'explain', *tiny_checkpoint, *images, '-o'
    code, stdout, stderr = hsonet(*command, tmp_path / 'a.html', '--pictures', tmp_path / 'figures')
    assert code == 0, stderr
    assert 'Grad-CAM at decode_head.decoder' in stdout
    page = (tmp_path / 'a.html').read_text()
    assert [
        len(re.findall(f'relation p{k}, {date}', page)) for k in range(2, 6) for date in ('before', 'after')
    ] == [1] * 8
    assert len(re.findall('Grad-CAM, (before|after)', page)) == 2
    assert not re.findall(r'(?:src|href)="(?!data:|#)|url\((?!#)', page.replace('xlink:', ''))
    assert sorted(path.name for path in (tmp_path / 'figures').iterdir()) == ['network_1.png', 'pair.png']
    corner = cv2.imread(str(tmp_path / 'figures/pair.png'), cv2.IMREAD_UNCHANGED)[0, 0]
    assert (corner == 255).all()  # on white, not transparent
    assert hsonet(*command, tmp_path / 'b.html')[0] == 0
    assert (tmp_path / 'b.html').read_bytes() == (tmp_path / 'a.html').read_bytes()


def test_layer_is_chosen(tiny_checkpoint, images, hsonet, tmp_path):
    out = tmp_path / 'x.html'
    code, stdout, _ = hsonet(
        'explain', *tiny_checkpoint, *images, '-o', out, '--layer', 'decode_head.refinement'
    )
    assert code == 0
    assert 'Grad-CAM at decode_head.refinement' in stdout
    assert 'Grad-CAM, both dates' in out.read_text()


def test_network_without_association(images, write_config, hsonet, tmp_path):
    """A baseline, trained for one iteration: no relation maps, and Grad-CAM all the same."""
    changes = {'train_cfg.max_iters': 1, 'train_cfg.val_interval': 1, 'model.decode_head.association': False}
    config = write_config(
        tmp_path / 'plain.py', {**changes, 'model.decode_head.in_channels': [8, 8, 8, 16, 16, 16, 16, 64]}
    )
    assert hsonet('train', config, '--work-dir', tmp_path / 'work')[0] == 0
    out = tmp_path / 'x.html'
    assert hsonet('explain', config, tmp_path / 'work/iter_1.pth', *images, '-o', out)[0] == 0
    assert 'no foreground-scene association, hence no relation maps' in out.read_text()
    assert 'relation p2' not in out.read_text()
    assert 'Grad-CAM, before' in out.read_text()


@pytest.fixture(scope='module')
def trained(tmp_path_factory, write_config, forget_runs):
    """The work dir of a training with snapshots."""
    from hsonet_mm.cli import main

    work = tmp_path_factory.mktemp('explained') / 'work'
    changes = {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2, 'model.decode_head.prior': 0.5}
    config = write_config(work.parent / 'tiny.py', changes)
    forget_runs()
    assert main(['train', str(config), '--work-dir', str(work), '--snapshots', '2', '--seed', '0']) == 0
    return work


def test_page_over_a_training(trained, images, hsonet, tmp_path):
    out = tmp_path / 'x.html'
    code, stdout, stderr = hsonet(
        'explain', '--work-dir', trained, *images, '-o', out, '--features', 'val', '--samples', '30'
    )
    assert code == 0, stderr
    page = out.read_text()
    assert re.findall('<h3>(.*)</h3>', page) == ['iteration 1', 'iteration 2']
    assert 'share of the gradient, %' in page
    assert re.findall(r'(iteration \d): silhouette -?0\.\d{3}', stdout) == ['iteration 1', 'iteration 2']
    assert re.findall(r'silhouette -?0\.\d{3}', page)
    assert 'mean relation' in page
    assert '90 pixels of the 2 pairs of split val' in page


def test_log_without_shares(trained, images, hsonet, tmp_path):
    work, out = tmp_path / 'work', tmp_path / 'x.html'
    shutil.copytree(trained, work)
    for log in work.glob('*/vis_data/scalars.json'):
        log.write_text(log.read_text().replace('eo_grad', 'other'))
    (work / 'snapshot_iter_2.pth').unlink()
    assert hsonet('explain', '--work-dir', work, *images, '-o', out)[0] == 0
    assert 'holds no shares of the gradient: they are logged by EO-loss alone' in out.read_text()


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['{config}', '{checkpoint}'], 'no network, or nothing to show: give CONFIG CHECKPOINT'),
        (['{a}', '{b}'], 'no network, or nothing to show: give CONFIG CHECKPOINT'),
        (['{config}', '{checkpoint}', '{a}'], '0.png: give CONFIG CHECKPOINT'),
        (['m.onnx', '{a}', '{b}'], 'm.onnx is an exported model, whose layers cannot be inspected'),
        (['--work-dir', '{empty}', '{a}', '{b}'], 'contains no training log: give the work directory of hsonet train'),
        (['{config}', '{checkpoint}', '{a}', '{b}', '--layer', 'neck'], "invalid --layer 'neck': expected"),
        (['{config}', '{checkpoint}', '{a}', '{empty}'], 'empty is a folder, a pipe or a device'),
        (['{config}', '{checkpoint}', '--features', 'val', '--samples', '5'], '--samples 5'),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(arguments, sentence, tiny_checkpoint, images, hsonet, tmp_path):
    config, checkpoint = tiny_checkpoint
    (tmp_path / 'empty').mkdir()
    names = dict(config=config, checkpoint=checkpoint, a=images[0], b=images[1], empty=tmp_path / 'empty')
    out = tmp_path / 'x.html'
    code, _, stderr = hsonet('explain', *(one.format(**names) for one in arguments), '-o', out)
    assert code == 2
    error = stderr.strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert sentence in error
    assert not out.exists()


def test_no_snapshots(trained, images, hsonet, tmp_path):
    work = tmp_path / 'work'
    shutil.copytree(trained, work, ignore=shutil.ignore_patterns('snapshot_*'))
    code, _, stderr = hsonet('explain', '--work-dir', work, *images, '-o', tmp_path / 'x.html')
    assert code == 2
    assert 'contains no snapshots of its training (snapshot_iter_N.pth): train with --snapshots 5' in stderr


@pytest.mark.parametrize(('module', 'package'), [('captum', 'captum'), ('matplotlib', 'matplotlib')])
def test_missing_extra(module, package, tiny_checkpoint, images, hsonet, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    code, _, stderr = hsonet('explain', *tiny_checkpoint, *images, '-o', tmp_path / 'x.html')
    assert code == 2
    assert stderr.strip() == (
        f'error: hsonet explain needs {package}, which is not installed: pip install "hsonet_mm[explain]"'
    )
