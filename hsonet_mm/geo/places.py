"""Location of a raster: a file, or a name that GDAL opens, on a server or in an archive."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from hsonet_mm.errors import UserError
from hsonet_mm.images import RASTER_SUFFIXES
from hsonet_mm.index import belongs, some

__all__ = ['RasterPath', 'RemoteRaster', 'find_raster', 'raster_path']

_NAME = re.compile(r'(/vsi[a-z0-9_]+/|[a-z][a-z0-9+.\-]+://)', re.IGNORECASE)  # one letter alone is a drive


@dataclass(frozen=True)
class RemoteRaster:
    """A raster that is not a local file, with the part of the interface of paths that is needed.

    It is named as GDAL opens it: ``https://...``, ``s3://...``, ``/vsicurl/...``, ``/vsizip/archive.zip/name.tif``.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def stem(self) -> str:
        """The last part of the name without its suffix, and without what an address adds to it."""
        return Path(unquote(urlsplit(self.text).path.rstrip('/'))).stem

    def resolve(self) -> 'RemoteRaster':
        """Itself."""
        return self

    @property
    def archive(self) -> Path | None:
        """The local file that contains it."""
        inside = re.sub(r'^(/vsi[a-z0-9_]+/)+', '', self.text).strip('{}').replace('}/', '/')
        return next((path for path in (Path(inside), *Path(inside).parents) if path.is_file()), None)


RasterPath = Path | RemoteRaster


def raster_path(name: str | Path | RemoteRaster) -> RasterPath:
    """Parse the name of a raster: a path, a ``file://`` address, or a name that GDAL resolves."""
    if not isinstance(name, str):
        return name
    if name.lower().startswith('file://'):
        return Path(url2pathname(urlsplit(name).path))
    return RemoteRaster(name) if _NAME.match(name) else Path(name)


def find_raster(name: str | Path | RemoteRaster) -> RasterPath:
    """Parse the name of a raster, see :func:`raster_path`; for a zip file, the only raster in it.

    Raises:
        UserError: if a zip file contains none, or several.
    """
    place = raster_path(name)
    if not (isinstance(place, Path) and place.suffix.lower() == '.zip' and zipfile.is_zipfile(place)):
        return place
    with zipfile.ZipFile(place) as archive:
        inside = [f'/vsizip/{place}/{one}' for one in archive.namelist() if belongs(one, RASTER_SUFFIXES)]
    if len(inside) == 1:
        return RemoteRaster(inside[0])
    if inside:
        raise UserError(f'{place} contains {len(inside)} rasters: name one of them ({some(inside)})')
    raise UserError(f'{place} contains no raster ({", ".join(RASTER_SUFFIXES)}): give a file that does')
