"""Cut official archives or a user's own rasters and masks into the LEVIR layout.

``OUT/{train,val,test}/{A,B,label}/<stem>.png``, masks 0 / 255 (127: not labelled), with a ``labels.json`` that says so
and a ``manifest.json`` that says where every tile comes from. The same source, options and library versions give the
same bytes. One scene is in memory at a time: both dates and the mask, about 16 bytes a pixel at the peak.
"""

import argparse
from pathlib import Path
from typing import Any

from hsonet_mm.errors import UserError
from hsonet_mm.files import folder_beside, replace_folder, write_json
from hsonet_mm.images import add_reading_arguments, reading_of
from hsonet_mm.labels import CODING_FILE, add_label_arguments, write_survey
from hsonet_mm.preparation.cutting import Cutter
from hsonet_mm.preparation.options import PrepareOptions
from hsonet_mm.preparation.sources import Source
from hsonet_mm.preparation.tiling import BORDERS, read_split_file

__all__ = ['PrepareOptions', 'add_arguments', 'prepare_dataset', 'run']

MANIFEST = 'manifest.json'


def prepare_dataset(
    source: str | Path,
    out: str | Path,
    options: PrepareOptions | None = None,
    split_file: str | Path | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Cut a source into the LEVIR layout.

    The result appears under its name when it is complete, never before. A split file overrides every other rule;
    ``out`` is replaced with ``overwrite`` if an earlier call made it.

    Returns the manifest that is also written: ``splits`` with the shares, ``files`` with origin and SHA-256 of every
    tile, ``warnings`` to tell the user.
    """
    source, out, options = Path(source), Path(out), options or PrepareOptions()
    _check_target(source, out, overwrite)
    table = read_split_file(Path(split_file)) if split_file else None
    place = out.resolve()  # a link to a folder stays one
    with Source(source) as opened, folder_beside(place) as beside:
        cutter = Cutter(opened, beside / 'new', options, table)
        manifest = cutter.run()
        write_json(beside / 'new' / MANIFEST, manifest)
        write_json(beside / 'new' / CODING_FILE, write_survey(cutter.tile_survey()))
        replace_folder(beside / 'new', place, beside / 'old')
    return manifest


def _check_target(source: Path, out: Path, overwrite: bool) -> None:
    inside, outside = out.resolve(), source.resolve()
    if inside == outside or inside in outside.parents or outside in inside.parents:
        raise UserError(f'{out}: lies inside the source or around it: choose a folder beside {source}')
    if out.is_mount() or Path.cwd().is_relative_to(inside):
        raise UserError(
            f'{out}: cannot be replaced while it is in use: name a folder inside it, as {out / "data"}'
        )
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        if not overwrite:
            raise UserError(f'{out}: exists already: choose another folder or add --overwrite')
        if not (out / MANIFEST).is_file():
            raise UserError(
                f'{out}: was not made by this tool (no {MANIFEST}), so it is not replaced: remove it yourself'
            )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``hsonet prepare``."""
    default = PrepareOptions()
    border_help = (
        'at the border, move the last tile inward (shift), fill with black that does not count (pad) or leave '
        'the rest out (drop)'
    )
    block_help = (
        'divide scenes with longer sides into blocks of this size and split the blocks (for one huge raster)'
    )
    folder_help = 'folder, file or template of date 1, such as "{split}/before/*"'
    add = parser.add_argument
    add(
        'source',
        type=Path,
        help='folder or zip: {train,val,test}/{A,B,label}, or A, B, label, optionally with list/{train,val,test}.txt',
    )
    add('out', type=Path, help='folder to write')
    add('--tile', type=int, default=default.tile, help='tile size, pixels [%(default)s]')
    add('--stride', type=int, default=default.stride, help='distance between tiles, pixels [the tile size]')
    add('--border', choices=BORDERS, default=default.border, help=f'{border_help} [%(default)s]')
    add('--block', type=int, default=default.block, help=block_help)
    add('--val', type=float, default=default.val, help='share of the scenes for val [%(default)s]')
    add('--test', type=float, default=default.test, help='share of the scenes for test [%(default)s]')
    add('--seed', type=int, default=default.seed, help='random seed of the split [%(default)s]')
    add('--split-file', type=Path, help='CSV with columns scene,split, or JSON; overrides all other rules')
    add(
        '--max-empty',
        type=float,
        default=1.0,
        help='largest share of tiles without change in train [%(default)s]',
    )
    add_label_arguments(parser)
    add('--a', help=folder_help)
    add('--b', help='the same for date 2')
    add('--label', help='the same for the masks, which may be polygons (.gpkg, .geojson, .shp)')
    add('--overwrite', action='store_true', help='replace OUT if this command wrote it')
    add_reading_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run ``hsonet prepare`` and print a summary."""
    names = ('tile', 'stride', 'border', 'block', 'val', 'test', 'seed', 'max_empty')
    options = PrepareOptions(
        **{name: getattr(args, name) for name in names},
        changed_values=args.changed_values or (),
        ignored_values=args.ignore_value or (),
        reading=reading_of(args),
        folders=tuple(filter(None, (args.a, args.b, args.label))),
    )
    manifest = prepare_dataset(args.source, args.out, options, args.split_file, args.overwrite)
    print(f'layout {manifest["layout"]}, tiles of {options.tile}')
    print(f'masks coded {manifest["labels"]}, written as 0/255')
    print(f'{"split":<6}{"scenes":>8}{"tiles":>8}{"changed":>10}{"empty":>9}')
    for split, row in manifest['splits'].items():
        shares = f'{row["changed_share"]:>9.2%}{row["empty_share"]:>9.1%}'
        print(f'{split:<6}{row["scenes"]:>8}{row["tiles"]:>8} {shares}')
    for warning in manifest['warnings']:
        print(f'warning: {warning}')
    print(f'written to {args.out}, checksums in {args.out / MANIFEST}')
    return 0
