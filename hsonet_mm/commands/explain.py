"""``hsonet explain``: inspect networks on a pair, over a training, and on foreground and background."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hsonet_mm.bands import set_reading
from hsonet_mm.commands.options import add_device_option, warn
from hsonet_mm.config import add_data_arguments, declare_labels, read_config
from hsonet_mm.datasets.labelled_pairs import LabelledPairs
from hsonet_mm.errors import UserError
from hsonet_mm.explain.extra import require
from hsonet_mm.explain.features import FEWEST, choose_pixels, embed, features_of
from hsonet_mm.explain.figures import write_picture
from hsonet_mm.explain.networks import Network, open_network, snapshots_of, unique_names
from hsonet_mm.explain.page import Content, Features, draw, write_page
from hsonet_mm.explain.views import View, look
from hsonet_mm.files import require_writable
from hsonet_mm.images import add_reading_arguments, join, notes_of, reading_of
from hsonet_mm.memory import keep_memory
from hsonet_mm.training_log import read_log

__all__ = ['add_arguments', 'run']

USAGE = (
    'give CONFIG CHECKPOINT, once or for several networks, or the snapshots of a training with --work-dir; then two '
    'images, or --features, or both'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``hsonet explain``."""
    parser.description = (
        'Write a page that shows what networks do: probability, relation maps and Grad-CAM of a pair, the gradient '
        'over a training, and features of foreground, hard and easy background.'
    )
    parser.add_argument(
        'files',
        nargs='*',
        metavar='FILE',
        help='config (.py) and checkpoint (.pth, or name of a packaged model), of one network or several; then the '
        'images of the first and second date',
    )
    parser.add_argument('-o', '--out', type=Path, default=Path('explain.html'), help='page [explain.html]')
    parser.add_argument(
        '--work-dir', type=Path, help='also show the snapshots of this run (of hsonet train --snapshots)'
    )
    parser.add_argument(
        '--layer',
        help='layer of Grad-CAM; an unknown name prints the list [the last one that processes the dates separately]',
    )
    parser.add_argument(
        '--features',
        choices=['val', 'test'],
        metavar='SPLIT',
        help='t-SNE and silhouette score of foreground, hard and easy background of this split of the (first) config, '
        'val or test',
    )
    parser.add_argument(
        '--samples', type=int, default=300, help='largest number of pixels of each kind for --features [300]'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='random seed of the choice of pixels for --features [0]'
    )
    parser.add_argument('--pictures', type=Path, metavar='DIR', help='also write the figures as files')
    parser.add_argument(
        '--picture-format',
        choices=['png', 'webp', 'svg', 'pdf'],
        default='png',
        help='file format of --pictures [png]',
    )
    parser.add_argument(
        '--threshold', type=float, help='probability above which a pixel is changed [as in predict]'
    )
    add_device_option(parser)
    add_data_arguments(parser)
    add_reading_arguments(parser, 'as in training')


def run(args: argparse.Namespace) -> int:
    """Run ``hsonet explain``; returns the exit code."""
    models, images = _parse(args.files)
    if (not models and args.work_dir is None) or (not images and args.features is None):
        raise UserError(f'no network, or nothing to show: {USAGE}')
    if args.samples < FEWEST:
        raise UserError(f'invalid --samples {args.samples}: expected {FEWEST} or more')
    require('matplotlib', *(['captum'] if images else []), *(['sklearn'] if args.features else []))
    require_writable(args.out)
    keep_memory()
    networks = _open(models, args)
    warn(networks[0].detector.notes)
    views = [_view(network, images, args.layer) for network in networks] if images else []
    content = Content(
        networks,
        (images[0], images[1]) if images else None,
        views,
        args.work_dir,
        read_log(args.work_dir) if args.work_dir else [],
        _features(networks, args) if args.features else None,
    )
    figures = draw(content)
    write_page(args.out, content, figures)
    for name, figure in figures.items() if args.pictures else ():
        write_picture(figure, args.pictures / f'{name}.{args.picture_format}')
    print(_summary(content, args))
    return 0


def _parse(files: Sequence[str]) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Configs with their checkpoints, and two images or none."""
    paths = [Path(file) for file in files]
    models: list[tuple[Path, Path]] = []
    while len(paths) > 1 and paths[0].suffix == '.py':
        models.append((paths[0], paths[1]))
        paths = paths[2:]
    if exported := next((path for path in paths if path.suffix.lower() == '.onnx'), None):
        raise UserError(
            f'{exported} is an exported model, whose layers cannot be inspected: give config and checkpoint'
        )
    if len(paths) not in (0, 2):
        raise UserError(f'unexpected {" ".join(map(str, paths))}: {USAGE}')
    return models, paths


def _open(models: Sequence[tuple[Path, Path]], args: argparse.Namespace) -> list[Network]:
    """All networks that the command line names."""
    named: list[tuple[str, Path, Path, int | None]] = [
        (name, *model, None) for name, model in zip(unique_names(models), models, strict=True)
    ]
    if args.work_dir is not None:
        config, snapshots = snapshots_of(args.work_dir)
        named += [(f'iteration {step}', config, path, step) for step, path in snapshots.items()]
    return [
        open_network(
            name,
            config,
            checkpoint,
            device=args.device or 'cpu',
            threshold=args.threshold,
            reading=reading_of(args),
            iteration=step,
        )
        for name, config, checkpoint, step in named
    ]


def _view(network: Network, images: Sequence[Path], layer: str | None) -> View:
    """Results of a network on two images."""
    _say(f'looking into {network.name}')
    reading = network.detector.reading
    t1, t2 = network.detector.read(*images)
    warn(note.text for note in notes_of(t1, t2, reading.nodata is not None))
    pair = join(t1, t2, reading.stretch)
    if pair.valid is not None and not pair.valid.any():
        raise UserError(
            f'{images[0]} and {images[1]} have no valid pixel in common: check their nodata values and '
            'alpha bands'
        )
    return look(network, pair, layer)


def _features(networks: Sequence[Network], args: argparse.Namespace) -> Features:
    """Features of the split that the command line names."""
    first = networks[0]
    config = read_config(first.config)
    declare_labels(config, args)
    set_reading(config, first.detector.reading)
    pairs = LabelledPairs(config, args.data_root, args.features)
    _say(f'choosing pixels of {len(pairs)} pairs')
    pixels = choose_pixels(networks, pairs, args.samples, args.seed)
    embeddings, relations = [], []
    for network in networks:
        _say(f'features of {network.name}')
        values, found = features_of(network, pairs, pixels)
        embeddings.append(embed(values, pixels.kind))
        relations.append(found)
    source = (
        f'{len(pixels.kind):,} pixels of the {len(pairs)} pairs of split {args.features} of {first.config}'
    )
    return Features(source, embeddings, relations)


def _summary(content: Content, args: argparse.Namespace) -> str:
    """A summary of the page in a few lines."""
    lines = [
        f'{view.network.name}: {view.prediction.mask.mean():.2%} of the pixels changed; Grad-CAM at {view.layer.name}'
        for view in content.views
    ]
    if content.features is not None:
        lines += [
            f'{name}: silhouette {embedding.silhouette:.3f}'
            for name, embedding in zip(content.names, content.features.embeddings, strict=True)
        ]
    return '\n'.join(
        [*lines, f'{args.out} written' + (f', figures in {args.pictures}' if args.pictures else '')]
    )


def _say(text: str) -> None:
    print(f'{text} ...', file=sys.stderr, flush=True)
