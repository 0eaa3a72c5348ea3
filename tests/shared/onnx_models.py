"""A model that is exported without a network, images for it, and what it makes of them."""

import hashlib
import json

import numpy as np
import pytest

from hsonet_mm.exported.metadata import Metadata
from hsonet_mm.inference.calibration import sidecar_of

onnx = pytest.importorskip('onnx')

METADATA = Metadata(
    name='tiny.py tiny.pth',
    threshold=0.25,
    threshold_source="the model's own",
    temperature=1.0,
    tile_size=None,
    crop_size=128,
    versions={'hsonet_mm': '0.1.0', 'torch': '2.13.0'},
)


def write_onnx(path, props=None, tile_size=None, divisor=255.0):
    """A model whose probability is |red of t1 - green of t2| / 255."""
    helper, kind = onnx.helper, onnx.TensorProto
    size = (tile_size or 'height', tile_size or 'width')
    nodes = [
        helper.make_node('Gather', ['pair', 'red'], ['r1'], axis=1),
        helper.make_node('Gather', ['pair', 'green'], ['g2'], axis=1),
        helper.make_node('Sub', ['r1', 'g2'], ['difference']),
        helper.make_node('Abs', ['difference'], ['distance']),
        helper.make_node('Div', ['distance', 'scale'], ['probs']),
    ]
    initializers = [
        helper.make_tensor('red', kind.INT64, [1], [0]),
        helper.make_tensor('green', kind.INT64, [1], [4]),
        helper.make_tensor('scale', kind.FLOAT, [], [divisor]),
    ]
    graph = helper.make_graph(
        nodes,
        'tiny',
        [helper.make_tensor_value_info('pair', kind.FLOAT, ('batch', 6, *size))],
        [helper.make_tensor_value_info('probs', kind.FLOAT, ('batch', 1, *size))],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)
    metadata = Metadata(**{**METADATA.__dict__, 'tile_size': tile_size})
    helper.set_model_props(model, metadata.to_props() if props is None else props)
    path.write_bytes(model.SerializeToString())
    return path


def write_sidecar(model, **changes):
    content = {
        'format': 'hsonet_mm calibration 1',
        'temperature': 2.0,
        'threshold': 0.375,
        'model_sha256': hashlib.sha256(model.read_bytes()).hexdigest(),
    }
    sidecar_of(model).write_text(json.dumps(content | changes))


def image(seed, height=21, width=34):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def expected(t1, t2):
    return abs(t1[..., 2].astype(np.float32) - t2[..., 1]) / 255
