"""Reading the two dates of a scene, window by window, on the grid of the first one."""

from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform as transform_points

from hsonet_mm.errors import UserError
from hsonet_mm.geo.headers import RasterInfo, file_states, open_raster
from hsonet_mm.geo.overlap import bounds_in, common_middle, covered_share, whole_turns
from hsonet_mm.images import Stretch
from hsonet_mm.images.gdal import GDAL_ERRORS, bands_last, read_mask, reason, without_alpha
from hsonet_mm.images.ground import PixelSize, pixel_size, pixel_size_at, pixel_steps
from hsonet_mm.images.options import apply_stretch
from hsonet_mm.images.pairs import no_overlap, refuse_depths
from hsonet_mm.images.pixels import colours, edge_text, effective_stretch
from hsonet_mm.images.raster import fits, valid_pixels

__all__ = ['LEAST_COVERED', 'ScenePair', 'border_notes', 'open_date']

_SAMPLE = 1024
"""Rows and columns that percentiles are taken of."""
LEAST_COVERED = 0.1
"""Share of the first date that the second one covers, below which there is a warning. [choice]"""


@dataclass
class ScenePair:
    """The two dates of a scene on the grid of the first one; may be read from several threads.

    They take turns at each date, so that its blocks are decoded once. The second date is resampled bilinearly where its
    grid is another, and averaged as far as its pixels are smaller.

    Attributes:
        t1: Header of the first date.
        t2: Header of the second date.
        stretches: What becomes 0 and 255 for each date; None where values are 8 bits as they are.
        resampled: Whether the second date is on another grid.
    """

    t1: RasterInfo
    t2: RasterInfo
    stretch: Stretch | None = None
    stretches: tuple[Stretch | None, Stretch | None] = field(init=False)
    resampled: bool = field(init=False)

    def __post_init__(self) -> None:
        t1, t2 = self.t1, self.t2
        refuse_depths(str(t1.path), t1.dtype, str(t2.path), t2.dtype, self.stretch)
        self._check_overlap()
        a, b, left, *rest = t1.transform[:6]
        self._grid = Affine(a, b, left - self._turn, *rest)
        same_grid = t1.crs == t2.crs and (t1.width, t1.height) == (t2.width, t2.height)
        tolerance = 1e-6 * abs(t1.transform.determinant) ** 0.5
        self.resampled = not (same_grid and self._grid.almost_equals(t2.transform, tolerance))
        self._open, self._opening, self._reading = list[Any](), Lock(), (Lock(), Lock())
        self.stretches = (_resolve(t1, self.stretch), _resolve(t2, self.stretch))

    @property
    def height(self) -> int:
        """Rows of the scene."""
        return self.t1.height

    @property
    def width(self) -> int:
        """Columns of the scene."""
        return self.t1.width

    @property
    def pixel_size(self) -> PixelSize | None:
        """Pixel size on the ground at the centre of the scene; None if unknown."""
        return pixel_size(self.t1.crs, self.t1.transform, self.height, self.width)

    @property
    def pixel_sizes(self) -> tuple[PixelSize, PixelSize] | None:
        """Pixel sizes of both dates on the ground, in the middle of what they share; None if one is unknown."""
        t1, t2 = self.t1, self.t2
        try:
            first = pixel_size_at(t1.crs, t1.transform, *self._middle)
            second = pixel_size_at(t2.crs, t2.transform, *self._middle_of_second())
        except GDAL_ERRORS:
            return None
        return None if first is None or second is None else (first, second)

    def notes(self) -> list[str]:
        """Warnings about a second date that covers little of the first."""
        if covered_share(self.t1, self.t2) >= LEAST_COVERED:
            return []
        return [
            f'{self.t2.path} covers less than {LEAST_COVERED:.0%} of {self.t1.path}, and the rest of the result has no '
            'data: check that they show the same place'
        ]

    def _middle_of_second(self) -> tuple[float, float]:
        """The middle of what both dates share, in coordinates of the second."""
        x, y = self._middle
        if self.t1.crs == self.t2.crs:
            return x, y
        (x2,), (y2,) = transform_points(self.t1.crs, self.t2.crs, [x], [y])[:2]
        return x2, y2

    def _check_overlap(self) -> None:
        t1, t2 = self.t1, self.t2
        found = bounds_in(t2, t1)
        self._turn = whole_turns(t1, t2, found)
        middle = common_middle(t1.bounds, found)
        if middle is None:  # corners of a large raster may lie where the system of a small one means nothing
            there = common_middle(t2.bounds, bounds_in(t1, t2))
            if there is not None:
                (x,), (y,) = transform_points(t2.crs, t1.crs, [there[0]], [there[1]])[:2]
                middle = x, y
        if middle is not None:
            self._middle = middle
            return
        if not np.isfinite(found).all():
            raise UserError(
                f'the area of {t2.path} ({t2.crs.to_string()[:40]}) cannot be transformed to the '
                f'coordinate reference system of {t1.path} ({t1.crs.to_string()[:40]}): assign the right '
                'one to both (gdal_edit -a_srs EPSG:...)'
            )
        raise no_overlap(t1.path, t1.bounds, t2.path, found, t1.crs)

    def _datasets(self) -> list[Any]:
        """The two dates, and what the second is resampled from."""
        with self._opening:
            if not self._open:
                try:
                    first, second = open_date(self.t1), open_date(self.t2)
                except UserError:
                    self.check_unchanged()
                    raise
                self._open = [first, self._on_grid(second), second] if self.resampled else [first, second]
            return self._open[:2]

    def _on_grid(self, dataset: Any) -> Any:
        """The second date as if it were on the grid of the first."""
        try:
            across, down = self._scales()
            info, options = self.t2, dict[str, Any]()
            value = info.nodata[0]
            if value is None and np.dtype(info.dtype).kind == 'f':
                value = np.nan
            if value is not None and fits(value, np.dtype(info.dtype)):
                options['src_nodata'] = value
            return WarpedVRT(
                dataset,
                crs=self.t1.crs,
                transform=self._grid,
                width=self.width,
                height=self.height,
                resampling=Resampling.bilinear if info.palette is None else Resampling.nearest,
                add_alpha=ColorInterp.alpha not in dataset.colorinterp,
                XSCALE=across,
                YSCALE=down,
                **options,
            )
        except GDAL_ERRORS as error:
            raise UserError(
                f'{self.t2.path} cannot be resampled onto the grid of {self.t1.path} ({reason(error)}): assign the '
                'right reference system (gdal_edit -a_srs EPSG:...)'
            ) from None

    def _scales(self) -> tuple[float, float]:
        """Pixels of the first date for a column and for a row of the second, in the middle of both, 1 at most.

        GDAL's own are those of upright boxes around what it reads, so that it blurs whatever is turned.
        """
        x, y = self._middle
        first = pixel_steps(self.t1.crs, self.t1.transform, x, y)
        second = pixel_steps(self.t2.crs, self.t2.transform, *self._middle_of_second())
        pixels = np.linalg.lstsq(second, first)[0]  # columns and rows of the second for a column and a row
        across, down = np.linalg.norm(pixels, axis=1).clip(1).tolist()
        return 1 / across, 1 / down

    def read(
        self, rows: tuple[int, int], columns: tuple[int, int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
        """Read a window of both dates.

        Rows and columns are given by the first and the one after the last.

        Returns:
            Both dates, (H, W, bands), red, green and blue unless others are declared, and where both are valid, (H, W).
            Elsewhere both are 0, so that nothing changes there.
        """
        shape, window = (rows[1] - rows[0], columns[1] - columns[0]), (rows, columns)
        images, valid = list[NDArray[np.uint8]](), np.ones(shape, bool)
        infos = self.t1, self.t2
        for dataset, turn, info, stretch in zip(
            self._datasets(), self._reading, infos, self.stretches, strict=True
        ):
            try:
                with turn:
                    image, known = _read(dataset, info, window=window)
            except (*GDAL_ERRORS, OSError) as error:
                self.check_unchanged()
                raise UserError(
                    f'{info.path} cannot be read at row {rows[0]}, column {columns[0]}, it is truncated or '
                    f'damaged ({reason(error)}): copy it again'
                ) from None
            image = apply_stretch(image, stretch)
            if info.repeated and image.shape[2] == 1:  # grey of which nothing is declared
                image = np.repeat(image, 3, axis=2)
            images.append(np.ascontiguousarray(image))
            if known is not None:
                valid &= known
        if not valid.all():
            for image in images:
                image[~valid] = 0
        return images[0], images[1], valid

    def check_unchanged(self) -> None:
        """Check that both files are unchanged."""
        for info in (self.t1, self.t2):
            if not all(file.exists() for file in info.files) or file_states(info.files) != info.state:
                raise UserError(
                    f'{info.path} was changed or removed while it was read: run the command again'
                )

    def close(self) -> None:
        """Close the files."""
        for dataset in self._open:  # what is resampled before what it is resampled from
            dataset.close()
        self._open.clear()


def open_date(info: RasterInfo) -> Any:
    """Open a date; a band that GDAL treats as alpha is an ordinary band if the user declares it."""
    dataset = open_raster(info.path)
    if info.alpha is None and ColorInterp.alpha in dataset.colorinterp:
        with dataset:
            return without_alpha(dataset)
    return dataset


def _read(dataset: Any, info: RasterInfo, **where: Any) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Values (H, W, bands) of a window, or of the whole raster at another size, and the mask; None: all valid."""
    mask_shape = {**where, 'out_shape': where['out_shape'][1:]} if 'out_shape' in where else where
    values = bands_last(dataset.read(info.bands, **where))
    alpha = info.alpha
    if alpha is None and ColorInterp.alpha in dataset.colorinterp:  # what the resampling adds
        alpha = dataset.colorinterp.index(ColorInterp.alpha) + 1
    mask = read_mask(dataset, info.bands[0], alpha, **mask_shape)
    valid = valid_pixels(values, info.nodata, mask)
    if info.palette is None:
        return values, valid
    shown = colours(values, info.palette[:, :3])
    opaque = info.palette[:, 3][values[..., 0]] > 0
    return shown, opaque if valid is None else valid & opaque


def _resolve(info: RasterInfo, declared: Stretch | None) -> Stretch | None:
    """Convert percentiles to values by a sample of the raster, from its overviews if it has any."""
    stretch = effective_stretch(declared, np.dtype('uint8' if info.palette is not None else info.dtype))
    if stretch is None or not stretch.percent:
        return stretch
    shape = min(info.height, _SAMPLE), min(info.width, _SAMPLE)
    with open_date(info) as dataset:
        try:
            values, valid = _read(dataset, info, out_shape=(len(info.bands), *shape))
        except (*GDAL_ERRORS, OSError) as error:
            raise UserError(
                f'{info.path} cannot be read, it is truncated or damaged ({reason(error)}): copy it again'
            ) from None
    known = values if valid is None else values[valid]
    if not known.size:
        raise UserError(f'{info.path} contains only nodata: give a raster with valid pixels')
    return stretch.resolve(known)


def border_notes(info: RasterInfo) -> list[str]:
    """Warn about a black or white border that is not declared as nodata, by the outermost rows and columns alone."""
    last_row, last_column = info.height - 1, info.width - 1
    rows, columns = (0, info.height), (0, info.width)
    sides = [
        ((0, 1), columns),
        ((last_row, info.height), columns),
        (rows, (0, 1)),
        (rows, (last_column, info.width)),
    ]
    edges, known = list[NDArray[Any]](), list[NDArray[np.bool_]]()
    with open_date(info) as dataset:
        for side in sides:
            try:
                values, valid = _read(dataset, info, window=side)
            except (*GDAL_ERRORS, OSError):
                return []  # reading all of it will say what is wrong
            edges.append(values.reshape(-1, values.shape[2]))
            known.append(np.ones(len(edges[-1]), bool) if valid is None else valid.ravel())
    text = edge_text(str(info.path), np.concatenate(edges), np.concatenate(known))
    return [text] if text else []
