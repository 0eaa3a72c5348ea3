"""Older operator sets for older runtimes: rewrites the few operators of our models that changed.

PyTorch's exporter writes opset 18 and leaves older ones to ONNX's version converter, which has no rule for ``Pad``.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from hsonet_mm.errors import UserError

__all__ = ['NEWEST', 'OLDEST', 'lower']

NEWEST = 18
"""What PyTorch's exporter writes; ONNX Runtime 1.14 and later know it."""
OLDEST = 13
"""Before, axes were attributes of nearly every operator."""

_SAME = {
    'Add', 'Sub', 'Mul', 'Div', 'Pow', 'Relu', 'LeakyRelu', 'PRelu', 'Where', 'Identity', 'CumSum', 'ScatterND',
}  # fmt: skip
"""Operators whose later versions differ in the types that they take only."""
_FOREVER = 2**63 - 1


def lower(model: Any, opset: int) -> None:
    """Convert a model of opset 18 to an older one, down to :data:`OLDEST`, in place.

    Raises:
        UserError: if it uses an operator that the older opset does not have; the sentence says which one does.
    """
    from onnx import checker, defs, helper

    graph = model.graph
    constants = {one.name: one for one in graph.initializer}
    nodes = []
    for node in graph.node:
        since = defs.get_schema(node.op_type, NEWEST, '').since_version
        if since <= opset or node.op_type in _SAME:
            nodes.append(node)
        elif node.op_type in _RULES:
            nodes.extend(_RULES[node.op_type](node, graph, constants))
        else:
            raise _too_old(node, since)
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [one for one in graph.initializer if one.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    (own,) = (one for one in model.opset_import if one.domain == '')
    own.version = opset
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    checker.check_model(model)


def _too_old(node: Any, since: int) -> UserError:
    return UserError(f'the model needs {node.op_type} of opset {since}: give --opset {since} or more')


def _values(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def _without(node: Any, *names: str) -> None:
    kept = [one for one in node.attribute if one.name not in names]
    del node.attribute[:]
    node.attribute.extend(kept)


def _drop(defaults: dict[str, Any], node: Any, graph: Any, constants: Any) -> Iterator[Any]:  # noqa: ARG001
    """Remove attributes that the older operator lacks, if they have no effect."""
    if any(value != defaults.get(name, value) for name, value in _values(node).items()):
        raise _too_old(node, NEWEST)
    _without(node, *defaults)
    yield node


def _pad(node: Any, graph: Any, constants: Any) -> Iterator[Any]:  # noqa: ARG001
    """The same without axes, which all dimensions have by default."""
    if len(node.input) > 3 and node.input[3]:
        raise _too_old(node, NEWEST)
    yield node


def _ignore(names: tuple[str, ...], node: Any, graph: Any, constants: Any) -> Iterator[Any]:  # noqa: ARG001
    """Remove attributes that have no effect here."""
    _without(node, *names)
    yield node


def _reduce(node: Any, graph: Any, constants: Any) -> Iterator[Any]:  # noqa: ARG001
    """Axes were an attribute."""
    from onnx import helper, numpy_helper

    if len(node.input) > 1 and node.input[1]:
        if node.input[1] not in constants:
            raise _too_old(node, NEWEST)
        axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
        node.attribute.append(helper.make_attribute('axes', axes))
    elif _values(node).get('noop_with_empty_axes'):
        raise _too_old(node, NEWEST)
    del node.input[1:]
    _without(node, 'noop_with_empty_axes')
    yield node


def _shape(node: Any, graph: Any, constants: Any) -> Iterator[Any]:  # noqa: ARG001
    """A part of the shape was cut out of all of it."""
    import numpy as np
    from onnx import helper, numpy_helper

    values = _values(node)
    if not values:
        yield node
        return
    result, name = node.output[0], f'{node.output[0]}_of_all'
    _without(node, 'start', 'end')
    node.output[0] = name
    yield node
    bounds = {'start': values.get('start', 0), 'end': values.get('end', _FOREVER)}
    for key, value in bounds.items():
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), f'{name}_{key}'))
    yield helper.make_node(
        'Slice', [name, *(f'{name}_{key}' for key in bounds)], [result], name=f'{name}_slice'
    )


_Rule = Callable[[Any, Any, Any], Iterator[Any]]
_RULES: dict[str, _Rule] = {
    'Pad': _pad,
    'Split': partial(_ignore, ('num_outputs',)),  # equal parts, as many as there are outputs
    'Shape': _shape,
    'Resize': partial(_drop, {'antialias': 0, 'keep_aspect_ratio_policy': b'stretch', 'axes': None}),
    'BatchNormalization': partial(_drop, {'training_mode': 0}),
    'Reshape': partial(_ignore, ('allowzero',)),  # what 0 stands for in a shape: no map of ours is empty
    **dict.fromkeys(('ReduceMean', 'ReduceMax', 'ReduceMin', 'ReduceProd', 'ReduceL1', 'ReduceL2'), _reduce),
}
"""How an operator of opset 18 is written with an older one."""
