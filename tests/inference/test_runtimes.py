"""Exported models in every runtime: the same probabilities, and a sentence for what is not there."""

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from hsonet_mm import ChangeDetector
from hsonet_mm.errors import UserError
from hsonet_mm.inference import runtimes

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')


@pytest.fixture
def pair():
    return np.random.default_rng(0).integers(0, 256, (2, 2, 70, 100, 3), dtype=np.uint8)


class TestOpenVINO:
    @pytest.fixture(autouse=True)
    def _openvino(self):
        pytest.importorskip('openvino')

    def test_equals_onnxruntime(self, tiny_onnx, pair):
        expected = ChangeDetector.from_onnx(tiny_onnx)
        detector = ChangeDetector.from_onnx(tiny_onnx, runtime='openvino', threads=1, precision='fp32')
        assert detector.threshold == expected.threshold
        assert detector.model.metadata == expected.model.metadata
        assert 'openvino' in detector.versions
        assert 'onnxruntime' not in detector.versions
        probs = expected.probs(*pair, channel_order='rgb')
        assert probs.std() > 0
        first = detector.probs(*pair, channel_order='rgb')
        np.testing.assert_allclose(first, probs, atol=1e-5)
        second = detector.probs(pair[0], pair[0], channel_order='rgb')
        assert abs(first - second).max() > 0  # the result of a call is no window on the next one's

    def test_precision(self, tiny_onnx, pair):
        exact = ChangeDetector.from_onnx(tiny_onnx).probs(*pair, channel_order='rgb')
        detector = ChangeDetector.from_onnx(tiny_onnx, runtime='openvino', precision='fp32')
        assert detector.versions['precision'] == 'fp32'
        np.testing.assert_allclose(detector.probs(*pair, channel_order='rgb'), exact, atol=1e-5)
        with pytest.raises(UserError, match="invalid precision 'fp64': expected one of auto, fp32, bf16"):
            ChangeDetector.from_onnx(tiny_onnx, runtime='openvino', precision='fp64')

    def test_damaged(self, tmp_path):
        path = tmp_path / 'bad.onnx'
        path.write_bytes(b'no model')
        with pytest.raises(UserError, match=r'bad\.onnx is not an ONNX model, or damaged \('):
            ChangeDetector.from_onnx(path, runtime='openvino')

    def test_runs_on_the_cpu(self, tiny_onnx):
        with pytest.raises(
            UserError, match='--device cuda requires ONNX Runtime: leave out --runtime openvino'
        ):
            ChangeDetector.from_onnx(tiny_onnx, runtime='openvino', device='cuda')


@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino', 'pytorch'])
def test_threads_may_share_a_detector(request, runtime):
    if runtime == 'pytorch':
        opened = partial(
            ChangeDetector.from_checkpoint, *request.getfixturevalue('trained'), precision='fp32'
        )
    else:
        pytest.importorskip(runtime)
        options = {'precision': 'fp32'} if runtime == 'openvino' else {}
        path = request.getfixturevalue('tiny_onnx')
        opened = partial(ChangeDetector.from_onnx, path, runtime=runtime, threads=1, **options)
    detector = opened()
    images = np.random.default_rng(0).integers(0, 256, (21, 1, 64, 64, 3), dtype=np.uint8)

    def probs(index):
        return detector.probs(*images[index : index + 2], channel_order='rgb')

    alone = [probs(index) for index in range(20)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(probs, range(20)))
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_openvino_that_is_not_installed(tiny_onnx, monkeypatch):
    monkeypatch.setitem(sys.modules, 'openvino', None)
    with pytest.raises(UserError, match=r'pip install "hsonet_mm\[openvino\]"'):
        ChangeDetector.from_onnx(tiny_onnx, runtime='openvino')


def test_onnxruntime_has_one_precision(tiny_onnx):
    with pytest.raises(
        UserError, match=r'--precision does not apply to .* in ONNX Runtime: .* --runtime openvino'
    ):
        ChangeDetector.from_onnx(tiny_onnx, precision='bf16')


def test_a_runtime_for_checkpoints(tiny_onnx):
    with pytest.raises(UserError, match=r'was exported for ONNX Runtime and OpenVINO only: .*--fp16'):
        ChangeDetector.from_onnx(tiny_onnx, runtime='pytorch')


@pytest.mark.parametrize('device', ['gpu', 'cpu:1', 'cuda:', 'cuda:x'])
def test_unknown_device(tiny_onnx, device):
    with pytest.raises(UserError, match=f"invalid --device '{device}'.*expected cpu, cuda"):
        ChangeDetector.from_onnx(tiny_onnx, device=device)


@pytest.mark.parametrize(('device', 'provider'), [('cuda', 'CUDA'), ('tensorrt:1', 'Tensorrt')])
def test_provider_that_is_not_installed(tiny_onnx, monkeypatch, device, provider):
    monkeypatch.setattr(onnxruntime, 'get_available_providers', lambda: ['CPUExecutionProvider'])
    with pytest.raises(
        UserError, match=f'{provider}ExecutionProvider of ONNX Runtime, which is not installed'
    ):
        ChangeDetector.from_onnx(tiny_onnx, device=device)


@pytest.mark.parametrize(
    ('device', 'names', 'number'),
    [
        ('cuda', ['CUDAExecutionProvider'], 0),
        ('cuda:1', ['CUDAExecutionProvider'], 1),
        ('tensorrt:2', ['TensorrtExecutionProvider', 'CUDAExecutionProvider'], 2),
    ],
)
def test_providers_of_a_gpu(device, names, number):
    available = ['TensorrtExecutionProvider', 'CUDAExecutionProvider', 'CPUExecutionProvider']
    *gpu, cpu = runtimes.providers_of(device, available, 'model.onnx')
    assert gpu == [(name, {'device_id': number}) for name in names]
    assert cpu == 'CPUExecutionProvider'


def test_a_gpu_that_cannot_be_used(tiny_onnx, monkeypatch):
    """ONNX Runtime then goes on without a word on the CPU."""
    monkeypatch.setattr(
        onnxruntime, 'get_available_providers', lambda: ['CUDAExecutionProvider', 'CPUExecutionProvider']
    )
    if (
        'CUDAExecutionProvider'
        in onnxruntime.InferenceSession(str(tiny_onnx), providers=['CPUExecutionProvider']).get_providers()
    ):
        pytest.skip('there is a GPU')
    with (
        pytest.warns(UserWarning, match='CUDAExecutionProvider'),
        pytest.raises(
            UserError, match='ONNX Runtime finds no GPU, or no matching libraries, for --device cuda'
        ),
    ):
        ChangeDetector.from_onnx(tiny_onnx, device='cuda')


@pytest.mark.parametrize(('given', 'threads'), [(None, 3), (2, 2)])
def test_threads(tiny_onnx, monkeypatch, given, threads):
    """ONNX Runtime itself ignores OMP_NUM_THREADS; threads that wait leave their core to others."""
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    session, seen = onnxruntime.InferenceSession, []
    monkeypatch.setattr(
        onnxruntime,
        'InferenceSession',
        lambda path, options, **kwargs: seen.append(options) or session(path, options, **kwargs),
    )
    ChangeDetector.from_onnx(tiny_onnx, threads=given)
    (options,) = seen
    assert options.intra_op_num_threads == threads
    assert options.get_session_config_entry('session.intra_op.allow_spinning') == '0'


def test_properties_are_read_from_the_file_itself():
    helper, kind = onnx.helper, onnx.TensorProto
    value = helper.make_tensor_value_info('x', kind.FLOAT, ('n', 1))
    weights = helper.make_tensor('w', kind.FLOAT, [300], np.arange(300, dtype=np.float32))
    graph = helper.make_graph([], 'graph', [value], [value], [weights])
    model = helper.make_model(graph, ir_version=8, producer_name='someone')
    props = {'a': 'é' * 200, 'empty': '', 'json': '{"x": 1}'}
    helper.set_model_props(model, props)
    assert runtimes.read_props(model.SerializeToString()) == props


def test_a_failure_is_told_by_the_exception_alone(capfd):
    """ONNX Runtime prints no report of its own beside the sentence that ends the command."""
    floats, helper = onnx.TensorProto.FLOAT, onnx.helper
    graph = helper.make_graph(
        [helper.make_node('Reshape', ['pair', 'shape'], ['probs'])],
        'reshape',
        [helper.make_tensor_value_info('pair', floats, ['n', 6, 'h', 'w'])],
        [helper.make_tensor_value_info('probs', floats, ['n', 1, 'h', 'w'])],
        [helper.make_tensor('shape', onnx.TensorProto.INT64, [4], [1, 1, 5, 7])],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid('', 17)])
    program = runtimes.load('reshape.onnx', model.SerializeToString(), 'onnxruntime', 'cpu', None)
    with pytest.raises(Exception, match='Reshape'):
        program.run(np.zeros((1, 6, 2, 2), np.float32))
    assert capfd.readouterr() == ('', '')
