"""``hsonet view``: HTML pages of change maps of scenes."""

import argparse
from pathlib import Path

from hsonet_mm.commands.scene import require_geo
from hsonet_mm.errors import UserError

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``hsonet view``."""
    parser.description = (
        'Write a page that compares both dates and shows the changes at any threshold and the polygons, for a result '
        'of hsonet scene or a folder of results. Open its index.html: it needs neither network nor server.'
    )
    parser.add_argument('result', type=Path, help='change.tif, or a folder with the results of many scenes')
    parser.add_argument('-o', '--out', type=Path, help='folder to write [<result>_view beside it]')
    parser.add_argument('--before', help='raster of the first date, if it was moved [as recorded]')
    parser.add_argument('--after', help='raster of the second date, if it was moved [as recorded]')


def run(args: argparse.Namespace) -> int:
    """Run ``hsonet view``; returns 0, or 1 if one of many scenes cannot be shown."""
    require_geo()
    if args.result.is_dir():
        from hsonet_mm.viewer.report import find_results, print_report

        if args.before or args.after:
            raise UserError(f'{args.result} is a folder: --before and --after are for a single scene')
        return 1 if print_report(find_results(args.result), args.result, args.out) else 0
    from hsonet_mm.viewer.page import view_scene

    view = view_scene(args.result, args.out, args.before, args.after, progress=True)
    print(f'{view.folder / "index.html"} {"written" if view.fresh else "is up to date"}')
    return 0
