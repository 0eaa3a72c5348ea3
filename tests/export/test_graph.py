"""The graph that is exported: the network from raw bands to probabilities, for any batch and size."""

import numpy as np
import pytest
import torch

from hsonet_mm import ChangeDetector
from hsonet_mm.baselines.bit import BITHead
from hsonet_mm.errors import UserError
from hsonet_mm.export.graph import PairToProbs, trace
from hsonet_mm.export.opset import NEWEST
from hsonet_mm.models.backbones.efficientnet_lite import SameConv2d
from hsonet_mm.models.layers import PyramidDecoder

pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')


def images(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def bands_of(t1, t2):
    """Red, green, blue of both dates, as other programs give them to an exported model."""
    return np.concatenate([t1[..., ::-1], t2[..., ::-1]], axis=3).transpose(0, 3, 1, 2).astype(np.float32)


class _Pyramid(torch.nn.Module):
    """FarSeg's decoder on a pyramid that is made of its coarsest level."""

    def __init__(self):
        super().__init__()
        self.decoder = PyramidDecoder([8, 8, 8], 8, {'type': 'BN'})

    def forward(self, x):
        return self.decoder([x.repeat_interleave(k, 2).repeat_interleave(k, 3) for k in (4, 2, 1)])


def test_heads_export_for_any_batch_and_size():
    """Halves of a batch, which the translator to ONNX did not take, and a set of sizes, which the tracer did not."""
    torch.manual_seed(0)
    loss = {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': True}
    common = {'num_classes': 2, 'out_channels': 1, 'threshold': 0.5, 'loss_decode': loss}
    bit = BITHead(16, 8, 8, num_heads=2, dec_depth=1, **common).eval()
    dims = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    for module, wrap, channels in ((bit, lambda x: [x], 32), (_Pyramid().eval(), lambda x: x, 8)):
        example, other = torch.randn(3, channels, 5, 7), torch.randn(2, channels, 8, 4)
        shapes = (wrap(dims),)
        program = torch.export.export(module, (wrap(example),), dynamic_shapes=shapes, strict=False)
        translated = torch.onnx.export(program, opset_version=NEWEST, dynamo=True, verbose=False)
        content = translated.model_proto.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
        with torch.no_grad():
            expected = module(wrap(other)).numpy()
        (values,) = session.run(None, {session.get_inputs()[0].name: other.numpy()})
        np.testing.assert_allclose(values, expected, atol=1e-5)


def test_kernels_of_same_padding_are_constant():
    """ONNX Runtime prepares the kernels of convolutions that are constants, which it needs to be fast."""
    sides = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    conv, x = SameConv2d(3, 4, 3, stride=2).eval(), torch.zeros(1, 3, 20, 31)
    program = torch.export.export(conv, (x,), dynamic_shapes=(sides,), strict=False)
    graph = torch.onnx.export(program, opset_version=NEWEST, dynamo=True, verbose=False).model_proto.graph
    kernels = {node.input[1] for node in graph.node if node.op_type == 'Conv'}
    assert kernels
    assert kernels <= {one.name for one in graph.initializer}


def test_what_is_traced_is_the_detector(trained):
    detector = ChangeDetector.from_checkpoint(*trained)
    t1, t2 = images(1, 2, 37, 50), images(2, 2, 37, 50)
    with torch.no_grad():
        probs = PairToProbs(detector.model.network)(torch.from_numpy(bands_of(t1, t2)))
    np.testing.assert_allclose(probs[:, 0], detector.probs(t1, t2, channel_order='bgr'), atol=1e-5)


def test_normalisation_without_mean(trained):
    network = ChangeDetector.from_checkpoint(*trained).model.network
    del network.data_preprocessor.mean, network.data_preprocessor.std
    module = PairToProbs(network)
    assert module.mean.abs().sum() == 0
    assert (module.std == 1).all()


@pytest.mark.parametrize(
    ('version', 'refused'), [('2.6.0+cpu', True), ('2.7.1', True), ('2.8.0', False), ('2.13.0', False)]
)
def test_an_older_pytorch_is_refused_at_once(version, refused, monkeypatch):
    monkeypatch.setattr(torch, '__version__', torch.torch_version.TorchVersion(version))
    with pytest.raises(UserError if refused else AttributeError, match='2.8 or later' if refused else 'None'):
        trace(None)
