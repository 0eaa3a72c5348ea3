"""Memory, seams and speed of ``hsonet scene``.

Memory: the peak of two square scenes, each in a process of its own, with a detector that costs nothing (the difference
of the dates), so that everything else shows. The dates are generated, row by row, as tiled GeoTIFFs with a texture that
repeats and squares that change.

Seams: the largest difference between tiled and whole predictions of a random convolutional network whose receptive
field fits into the overlap; and, over the seams alone, the largest step between neighbouring pixels against that of the
whole.

Speed: pixels per second of tiles from files to files, all outputs written, against those of the model alone on the same
tiles in memory, in turns.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import from_origin
from torch import nn

from hsonet_mm.benchmark.timing import CLOCKS, alternate, header, speedups, spread, table
from hsonet_mm.geo.headers import read_info
from hsonet_mm.geo.rasters import ScenePair
from hsonet_mm.images import Reading
from hsonet_mm.machine import peak_memory, timed
from hsonet_mm.memory import MAPPED_FROM
from hsonet_mm.scenes.model import ModelSpec
from hsonet_mm.scenes.pipeline import read_tile
from hsonet_mm.scenes.record import SceneOptions
from hsonet_mm.scenes.scene import detect_scene
from hsonet_mm.windows import with_overlap

__all__ = ['add_arguments', 'run']

BLOCK = 512
"""Sides of the blocks of the rasters, and of the texture in them."""
Probs = Callable[..., NDArray[np.float32]]
"""Of both dates, with ``channel_order`` by name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the part ``scene``."""
    parser.add_argument('model', nargs='*', help='config and checkpoint, or .onnx [a random network]')
    parser.add_argument('--only', choices=['memory', 'seams', 'speed'], help='one of the three')
    parser.add_argument(
        '--sizes', type=int, nargs='+', default=[5000, 20_000], help='scenes of the memory test [5000 20000]'
    )
    parser.add_argument('--strips', action='store_true', help='rasters stored in strips instead of tiles')
    parser.add_argument('--speed-size', type=int, default=3000, help='scene of the speed test [3000]')
    parser.add_argument('--rounds', type=int, default=3, help='measurements of speed that count [3]')
    parser.add_argument('--tile', type=int, default=512, help='of the speed test [512]')
    parser.add_argument('--overlap', type=int, default=128, help='of the speed test [128]')
    parser.add_argument('--batch', type=int, default=4, help='of the speed test [4]')
    parser.add_argument('--device', default='cpu', help='[cpu]')
    parser.add_argument('--runtime', help='of an exported model [onnxruntime]')


def run(args: argparse.Namespace) -> int:
    """Measure and print; returns 0."""
    print(header(args.rounds, args.clock))
    if args.only in (None, 'memory'):
        print(f'\n{_memory(args.sizes, args.strips)}')
    with tempfile.TemporaryDirectory() as folder:
        if args.only in (None, 'seams'):
            print(f'\n{_seams(Path(folder))}')
        if args.only in (None, 'speed'):
            print(f'\n{_speed(Path(folder), args)}')
    return 0


def write_pair(folder: Path, size: int, strips: bool = False) -> tuple[Path, Path]:
    """Write two square dates of a given side; returns their paths."""
    texture = np.random.default_rng(0).integers(60, 160, (3, BLOCK, BLOCK), dtype=np.uint8)
    layout: dict[str, Any] = {} if strips else {'tiled': True, 'blockxsize': BLOCK, 'blockysize': BLOCK}
    paths = folder / f'before_{size}.tif', folder / f'after_{size}.tif'
    for date, path in enumerate(paths):
        with rasterio.open(
            path, 'w', driver='GTiff', width=size, height=size, count=3, dtype='uint8', crs='EPSG:32633',
            transform=from_origin(500_000, 5_000_000, 0.5, 0.5), photometric='RGB', compress='lzw', **layout,
        ) as dataset:  # fmt: skip
            for top in range(0, size, BLOCK):
                rows = min(BLOCK, size - top)
                image = np.tile(texture, (1, 1, size // BLOCK + 1))[:, :rows, :size].copy()
                image[:, 40:90, 100::700] = image[:, 40:90, 101::700] = 255 * date
                dataset.write(image, window=((top, top + rows), (0, size)))
    return paths


def _detector(name: str, probs: Probs, threshold: float = 0.5) -> Any:
    detector: Any = SimpleNamespace(
        probs=probs,
        threshold=threshold,
        threshold_source='given',
        name=name,
        versions={},
        reading=Reading(),
        window=with_overlap(512, 128),
        tta=(),
        ground_resolution=None,
        whole=lambda: detector,
    )
    return detector


def _difference(t1: NDArray[np.uint8], t2: NDArray[np.uint8], **_: str) -> NDArray[np.float32]:
    return np.abs(t1[..., 1].astype(np.int16) - t2[..., 1]).astype(np.float32) / np.float32(255)


def _network(channels: int) -> Any:
    """A random convolutional network with a receptive field of 23 pixels."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(6, channels, 3, padding=1), nn.ReLU()]
    layers += [nn.Conv2d(channels, channels, 3, stride=2, padding=1), nn.ReLU()]
    layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2)]
    net = nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1))
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)

    @torch.inference_mode()
    def probs(t1: NDArray[np.uint8], t2: NDArray[np.uint8], **_: str) -> NDArray[np.float32]:
        images = torch.from_numpy(np.concatenate([t1, t2], 3)).permute(0, 3, 1, 2).float() / 64 - 2
        return torch.sigmoid(net(images)[:, 0]).numpy()

    return _detector('random network', probs)


def _memory(sizes: list[int], strips: bool) -> str:
    """Peaks of scenes of several sizes as a table."""
    rows, first = [], 0.0
    env = {**os.environ, 'MALLOC_MMAP_THRESHOLD_': str(MAPPED_FROM)}  # as the command has it without PyTorch
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, '-m', __name__, *map(str, write_pair(Path(folder), size, strips))]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
        peak, before, seconds = json.loads(done.stdout.splitlines()[-1])
        first = first or peak
        figures = f'{peak:.0f}', f'{before:.0f}', f'{peak / first:.3f}', f'{size**2 / seconds / 1e6:.1f}'
        rows.append([f'{size} x {size}', *figures])
    return table(['scene', 'peak, MiB', 'of which before', 'times the first', 'Mpx/s'], rows)


def measure_peak(before: Path, after: Path) -> None:
    """Print peak memory in MiB, that before, and seconds of a scene as JSON; for a process of its own."""
    base = peak_memory()  # Python with all packages
    detector, out = _detector('difference', _difference), before.with_name('change.tif')
    seconds = timed(partial(detect_scene, detector, before, after, out))
    print(json.dumps([peak_memory(), base, seconds]))


def _seams(folder: Path, size: int = 1024, tile: int = 256, overlap: int = 128) -> str:
    """Differences between tiled and whole prediction, in a sentence."""
    paths = write_pair(folder, size)
    detector = _network(16)
    options = SceneOptions(tile=tile, overlap=overlap, float32=True, polygons='none')
    result = detect_scene(detector, *paths, folder / 'seams.tif', options)
    pair = ScenePair(read_info(paths[0]), read_info(paths[1]))
    t1, t2, _ = pair.read((0, size), (0, size))
    pair.close()
    whole = detector.probs(t1[None], t2[None], channel_order='rgb')[0]
    with rasterio.open(result.files['probs']) as dataset:
        tiled = dataset.read(1)
    axis = with_overlap(tile, overlap).grid(size, size).columns
    seams = [ramp + offset for ramp in axis.ramps for offset in (0, axis.ramp)]
    steps = [np.abs(values[:, seams] - values[:, np.subtract(seams, 1)]).max() for values in (tiled, whole)]
    difference = np.abs(tiled - whole)
    return (
        f'Seams: tiled and whole differ by {difference.max():.1e} at most, at seams by '
        f'{difference[:, seams].max():.1e}; the largest step there is {steps[0]:.4f}, of the whole {steps[1]:.4f}'
    )


def _speed(folder: Path, args: argparse.Namespace) -> str:
    """Whole scenes beside the model alone as a table."""
    if args.model:
        spec = ModelSpec(tuple(args.model), args.device, threads=args.threads, runtime=args.runtime)
        model: Any = spec.load()
    else:
        model = _network(64)
    paths = write_pair(folder, args.speed_size)
    options = SceneOptions(tile=args.tile, overlap=args.overlap, batch=args.batch)
    grid = with_overlap(args.tile, args.overlap).grid(args.speed_size, args.speed_size)
    pair = ScenePair(read_info(paths[0]), read_info(paths[1]))
    tiles = [read_tile(pair, grid, index)[:2] for index in range(len(grid))]
    pair.close()
    batches = [
        [np.stack(images) for images in zip(*(tiles[index] for index in group), strict=True)]
        for group in grid.groups(args.batch)
    ]
    # A small share is changed, as in scenes that there are, whatever the weights are.
    threshold = float(np.quantile(model.probs(*batches[0], channel_order='rgb'), 0.98))
    clock, last_tile = CLOCKS[args.clock], [0.0]

    def probs(*dates: NDArray[np.uint8], **order: str) -> NDArray[np.float32]:
        result: NDArray[np.float32] = model.probs(*dates, **order)
        last_tile[0] = clock()
        return result

    detector, to_last_tile = _detector(model.name, probs, threshold), list[float]()

    def alone() -> None:
        for batch in batches:
            model.probs(*batch, channel_order='rgb')

    def scene() -> None:
        start = clock()
        detect_scene(detector, *paths, folder / f'speed{len(to_last_tile)}.tif', options)
        to_last_tile.append(last_tile[0] - start)

    seconds = alternate({'model alone': alone, 'scene': scene}, args.rounds, args.clock)
    seconds['scene, to its last tile'] = to_last_tile[1:]
    pixels = len(tiles) * grid.rows.size * grid.columns.size / 1e6
    rows = [
        [name, f'{pixels / min(seconds[name]):.2f}', spread(ratios)]
        for name, ratios in speedups(seconds, 'model alone').items()
    ]
    return table([model.name, 'Mpx/s of tiles at best', 'times as fast as the model alone'], rows)


if __name__ == '__main__':
    measure_peak(*map(Path, sys.argv[1:]))
