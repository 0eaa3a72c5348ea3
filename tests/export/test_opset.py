"""Graphs of opset 18 with older operators: the same values in ONNX Runtime, or a sentence."""

import copy

import numpy as np
import pytest

from hsonet_mm.errors import UserError

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')

from onnx import TensorProto, helper  # noqa: E402

from hsonet_mm.export.opset import NEWEST, OLDEST, lower  # noqa: E402


def make(*nodes, **constants):
    values = [onnx.numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    graph = helper.make_graph(
        nodes,
        'test',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, ('n', 4, 'h', 'w'))],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, ('a', 'b', 'c', 'd'))],
        values,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', NEWEST)], ir_version=8)


def outputs(model):
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 10)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(None, {'x': x})[0]


node = helper.make_node
RESIZE = {'mode': 'linear', 'antialias': 0, 'keep_aspect_ratio_policy': 'stretch'}
MODELS = {
    'mean': make(node('ReduceMean', ['x', 'axes'], ['y'], keepdims=1, noop_with_empty_axes=0), axes=[2, 3]),
    'mean of all': make(node('ReduceMean', ['x'], ['y'], keepdims=1)),
    'halves': make(node('Split', ['x'], ['a', 'b'], axis=1, num_outputs=2), node('Sub', ['a', 'b'], ['y'])),
    'size': make(
        node('Shape', ['x'], ['hw'], start=2),
        node('Shape', ['x'], ['nc'], start=0, end=2),
        node('Concat', ['nc', 'hw'], ['size'], axis=0),
        node('Resize', ['x', '', '', 'size'], ['y'], **RESIZE),
    ),
    'rest': make(
        node('Pad', ['x', 'pads'], ['padded'], mode='constant'),
        node('Reshape', ['padded', 'shape'], ['flat'], allowzero=1),
        node('Relu', ['flat'], ['y']),
        pads=[0, 0, 1, 0, 0, 0, 0, 2],
        shape=[2, 4, -1, 1],
    ),
}


@pytest.mark.parametrize('opset', range(OLDEST, NEWEST))
@pytest.mark.parametrize('name', MODELS)
def test_same_values(name, opset):
    model = copy.deepcopy(MODELS[name])
    expected = outputs(model)
    lower(model, opset)
    np.testing.assert_array_equal(outputs(model), expected)
    assert [one.version for one in model.opset_import] == [opset]
    assert model.ir_version == (7 if opset < 15 else 8)  # opset 15 came with IR version 8
    names = {name for one in model.graph.node for name in one.input}
    assert {one.name for one in model.graph.initializer} <= names


GRID = np.zeros((2, 3, 3, 2), np.float32)
SCALE = np.ones(4, np.float32)


@pytest.mark.parametrize(
    ('model', 'opset', 'sentence'),
    [
        (make(node('GridSample', ['x', 'grid'], ['y']), grid=GRID), 15, 'GridSample .* --opset 16'),
        (make(node('ReduceMean', ['x', 'axes'], ['y'])), 17, 'ReduceMean .* --opset 18'),  # axes of the input
        (make(node('Resize', ['x', '', 'scale'], ['y'], antialias=1), scale=SCALE), 17, 'Resize'),
        (make(node('Pad', ['x', 'pads', '', 'axes'], ['y']), pads=[1, 1], axes=[2]), 17, 'Pad'),
    ],
)
def test_what_the_older_opset_lacks(model, opset, sentence):
    with pytest.raises(UserError, match=f'the model needs {sentence}'):
        lower(model, opset)
