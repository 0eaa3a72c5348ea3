"""Memory, seams and speed of scenes: python tools/benchmark_scene.py [MODEL].

Memory: the peak of two square scenes, 5,000 and 20,000 pixels wide unless told otherwise, each in a process of its
own, with a detector that costs nothing (the difference of the dates), so that everything else shows. The dates are
generated, row by row, as tiled GeoTIFFs with a texture that repeats and squares that change.

Seams: the largest difference between tiled and whole predictions of a random convolutional network whose
receptive field fits into the overlap; and, over the seams alone, the largest step between neighbouring pixels against
that of the whole.

Speed: pixels per second of tiles of `hsonet scene` from files to files, against those of the model alone on the same
tiles in memory, in turns. The model is the one given (config and checkpoint, or .onnx), else a random network.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import numpy as np
import rasterio
from rasterio.transform import from_origin

from hsonet_mm.cli import guard
from hsonet_mm.scenes.headers import read_info
from hsonet_mm.scenes.model import ModelSpec
from hsonet_mm.scenes.pipeline import read_tile
from hsonet_mm.scenes.rasters import ScenePair
from hsonet_mm.scenes.record import SceneOptions
from hsonet_mm.scenes.scene import detect_scene
from hsonet_mm.scenes.tiling import TileGrid


def write_pair(folder, size, strips=False):
    """Two dates of so many pixels squared; returns their paths."""
    rng = np.random.default_rng(0)
    texture = rng.integers(60, 160, (3, 512, 512), dtype=np.uint8)
    layout = {} if strips else {'tiled': True, 'blockxsize': 512, 'blockysize': 512}
    paths = [folder / f'{name}_{size}.tif' for name in ('before', 'after')]
    for date, path in enumerate(paths):
        with rasterio.open(
            path,
            'w',
            driver='GTiff',
            width=size,
            height=size,
            count=3,
            dtype='uint8',
            crs='EPSG:32633',
            transform=from_origin(500_000, 5_000_000, 0.5, 0.5),
            photometric='RGB',
            compress='lzw',
            **layout,
        ) as dataset:
            for top in range(0, size, 512):
                rows = min(512, size - top)
                image = np.tile(texture, (1, 1, size // 512 + 1))[:, :rows, :size].copy()
                image[:, 40:90, 100::700] = image[:, 40:90, 101::700] = 255 * date
                dataset.write(image, window=((top, top + rows), (0, size)))
    return paths


def difference():
    """A detector that costs next to nothing."""

    def probs(t1, t2):
        return np.abs(t1[..., 1].astype(np.int16) - t2[..., 1]).astype(np.float32) / np.float32(255)

    return SimpleNamespace(
        probs=probs, threshold=0.5, threshold_source='given', name='difference', versions={}
    )


def network(channels=16):
    """A random convolutional network with a receptive field of 23 pixels."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = [nn.Conv2d(6, channels, 3, padding=1), nn.ReLU()]
    layers += [nn.Conv2d(channels, channels, 3, stride=2, padding=1), nn.ReLU()]
    layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2)]
    net = nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1))
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)

    @torch.inference_mode()
    def probs(t1, t2):
        images = torch.from_numpy(np.concatenate([t1, t2], 3)).permute(0, 3, 1, 2).float() / 64 - 2
        return torch.sigmoid(net(images)[:, 0]).numpy()

    return SimpleNamespace(
        probs=probs, threshold=0.5, threshold_source='given', name='random network', versions={}
    )


def peak_of_one(size, strips):
    """Run in a process of its own: peak memory in MiB and seconds, as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, '--write', folder, '--sizes', str(size)]
        subprocess.run([*command, *(['--strips'] if strips else [])], check=True)  # not to count its memory
        paths = [Path(folder) / f'{name}_{size}.tif' for name in ('before', 'after')]
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Python with all packages
        start = time.monotonic()
        result = detect_scene(difference(), *paths, Path(folder) / 'change.tif')
        seconds = time.monotonic() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            json.dumps(
                {'mib': peak, 'base': base, 'seconds': seconds, 'polygons': result.summary['polygons']}
            )
        )


def memory(sizes, strips):
    peaks = []
    for size in sizes:
        command = [
            sys.executable,
            __file__,
            '--peak',
            '--sizes',
            str(size),
            *(['--strips'] if strips else []),
        ]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(done.stdout)
        peaks.append(row['mib'])
        print(
            f'memory   {size:6} x {size:<6} peak {row["mib"]:7.1f} MiB, {row["base"]:.1f} before   '
            f'{peaks[-1] / peaks[0]:.3f} of the first   '
            f'{size * size / row["seconds"] / 1e6:.1f} Mpx/s   {row["polygons"]} polygons',
            flush=True,
        )


def seams(folder, size=1024):
    paths = write_pair(folder, size)
    detector = network()
    options = SceneOptions(tile=256, overlap=128, float32=True, polygons='none')
    result = detect_scene(detector, *paths, folder / 'seams.tif', options)
    pair = ScenePair(*(read_info(path) for path in paths))
    t1, t2, _ = pair.read((0, size), (0, size))
    pair.close()
    whole = detector.probs(t1[None], t2[None])[0]
    with rasterio.open(result.files['probs']) as dataset:
        tiled = dataset.read(1)
    ramps = [
        ramp + offset for ramp in TileGrid.make(size, size, 256, 128).columns.ramps for offset in (0, 64)
    ]
    steps = [np.abs(values[:, ramps] - values[:, np.subtract(ramps, 1)]).max() for values in (tiled, whole)]
    print(
        f'seams    largest difference of tiled and whole {np.abs(tiled - whole).max():.1e}, at seams '
        f'{np.abs(tiled - whole)[:, ramps].max():.1e}; largest step there {steps[0]:.4f}, of the whole {steps[1]:.4f}'
    )


def speed(folder, detector, options, size, repeats):
    """Wall time from files to files against the model alone, in turns."""
    paths = write_pair(folder, size)
    grid = TileGrid.make(size, size, options.tile, options.overlap)
    pair = ScenePair(*(read_info(path) for path in paths))
    tiles = [read_tile(pair, grid, index)[:2] for index in range(len(grid))]
    pair.close()
    batches = [
        [np.stack(images) for images in zip(*(tiles[index] for index in group), strict=True)]
        for group in grid.groups(options.batch)
    ]
    probs = detector.probs(*batches[0])  # also warms up
    if detector.name == 'random network':  # a small share is changed, as in scenes that there are
        detector.threshold = float(np.quantile(probs, 0.98))
    seconds = {'model alone': [], 'scene': [], 'tiles of scene': []}
    original = detector.probs
    for repeat in range(repeats):
        start = time.monotonic()
        for batch in batches:
            original(*batch)
        seconds['model alone'].append(time.monotonic() - start)
        ended = []

        def probs(t1, t2, ended=ended):
            result = original(t1, t2)
            ended.append(time.monotonic())
            return result

        detector.probs = probs
        start = time.monotonic()
        detect_scene(detector, *paths, folder / f'speed{repeat}.tif', options)
        seconds['scene'].append(time.monotonic() - start)
        seconds['tiles of scene'].append(ended[-1] - start)
        detector.probs = original
    pixels = len(tiles) * grid.rows.size * grid.columns.size
    alone = median(seconds['model alone'])
    for name, times in seconds.items():
        print(
            f'speed    {name:15} {pixels / median(times) / 1e6:8.3f} Mpx/s of tiles   '
            f'{alone / median(times):.1%} of the model alone'
        )


def main():
    parser = argparse.ArgumentParser(description='Memory, seams and speed of scenes.')
    parser.add_argument('model', nargs='*', help='config and checkpoint, or .onnx [a random network]')
    parser.add_argument('--only', choices=['memory', 'seams', 'speed'], help='one of the three')
    parser.add_argument(
        '--sizes', type=int, nargs='+', default=[5000, 20_000], help='scenes of the memory test'
    )
    parser.add_argument('--strips', action='store_true', help='rasters stored in strips instead of tiles')
    parser.add_argument('--speed-size', type=int, default=3000, help='scene of the speed test [3000]')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--tile', type=int, default=512)
    parser.add_argument('--overlap', type=int, default=128)
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=int)
    parser.add_argument('--channels', type=int, default=64, help='of the random network [64]')
    parser.add_argument('--peak', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--write', type=Path, help=argparse.SUPPRESS)
    return guard(run, parser.parse_args())


def run(args):
    if args.write:
        write_pair(args.write, args.sizes[0], args.strips)
        return 0
    if args.peak:
        peak_of_one(args.sizes[0], args.strips)
        return 0
    print(f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}')
    if args.only in (None, 'memory'):
        memory(args.sizes, args.strips)
    with tempfile.TemporaryDirectory() as folder:
        if args.only in (None, 'seams'):
            seams(Path(folder))
        if args.only in (None, 'speed'):
            if args.model:
                detector = ModelSpec(tuple(args.model), args.device, threads=args.threads).load()
            else:
                detector = network(args.channels)
            wrapped = SimpleNamespace(
                probs=detector.probs,
                threshold=detector.threshold,
                threshold_source=detector.threshold_source,
                name=detector.name,
                versions=detector.versions,
            )
            options = SceneOptions(tile=args.tile, overlap=args.overlap, batch=args.batch)
            speed(Path(folder), wrapped, options, args.speed_size, args.repeats)
    return 0


if __name__ == '__main__':
    sys.exit(main())
