"""Converts the raw rasters of a job to cloud-optimised GeoTIFFs."""

from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import rasterio
import rasterio.shutil

from hsonet_mm.geo.change_map import MASK_NODATA, PROBS_NODATA, PROBS_SCALE
from hsonet_mm.geo.headers import RasterInfo
from hsonet_mm.images.gdal import GDAL_ERRORS
from hsonet_mm.scenes.job import SceneJob

__all__ = ['write_geotiff']

_TYPES = {'uint8': 'Byte', 'float32': 'Float32'}

_COLOURS = {0: (235, 235, 235), 1: (220, 20, 60)}
"""RGB of unchanged and changed pixels of a mask: stretched over 0 to 255, both would look black."""


def write_geotiff(job: SceneJob, name: str, info: RasterInfo, tags: Mapping[str, str]) -> Path:
    """Write ``'probs'`` or ``'mask'`` of a job as cloud-optimised GeoTIFF: tiles of 512 pixels, deflate, overviews."""
    dtype = job.dtype if name == 'probs' else 'uint8'
    source, target = job.folder / f'{name}.vrt', job.folder / f'{name}.tif'
    source.write_text(_vrt(name, dtype, info, tags), encoding='utf-8')
    target.unlink(missing_ok=True)
    options = {
        'COMPRESS': 'DEFLATE',
        'PREDICTOR': 'YES' if dtype == 'float32' else 'NO',
        'BLOCKSIZE': 512,
        'OVERVIEW_RESAMPLING': 'AVERAGE' if name == 'probs' else 'NEAREST',
        'BIGTIFF': 'IF_SAFER',
    }
    try:
        rasterio.shutil.copy(source, target, driver='COG', **options)
        with rasterio.open(target) as dataset:  # GDAL may not notice that the last bytes did not fit
            dataset.read(1, window=((info.height - 1, info.height), (info.width - 1, info.width)))
    except GDAL_ERRORS as error:
        raise OSError(f'{target.name} cannot be written ({error.__cause__ or error})') from error
    return target


def _vrt(name: str, dtype: str, info: RasterInfo, tags: Mapping[str, str]) -> str:
    """Describe a raw raster to GDAL."""
    size = 1 if dtype == 'uint8' else 4
    nodata: float = MASK_NODATA
    scale = ''
    if name == 'probs':
        nodata = PROBS_NODATA if dtype == 'uint8' else float('nan')
        scale = f'<Scale>{1 / PROBS_SCALE:g}</Scale><Offset>0</Offset>' if dtype == 'uint8' else ''
    colours = '<ColorInterp>Gray</ColorInterp>' if name == 'probs' else _colour_table()
    description = 'probability of change' if name == 'probs' else 'changed'
    axes = '2,1' if info.crs.is_geographic else '1,2'  # x first, whatever the reference system says
    items = ''.join(f'<MDI key={quoteattr(key)}>{escape(value)}</MDI>' for key, value in tags.items())
    return f"""<VRTDataset rasterXSize="{info.width}" rasterYSize="{info.height}">
<SRS dataAxisToSRSAxisMapping="{axes}">{escape(info.crs.to_wkt())}</SRS>
<GeoTransform>{', '.join(repr(float(value)) for value in info.transform.to_gdal())}</GeoTransform>
<Metadata>{items}</Metadata>
<VRTRasterBand dataType="{_TYPES[dtype]}" band="1" subClass="VRTRawRasterBand">
<Description>{description}</Description><NoDataValue>{nodata}</NoDataValue>{scale}{colours}
<SourceFilename relativeToVRT="1">{name}.raw</SourceFilename>
<ImageOffset>0</ImageOffset><PixelOffset>{size}</PixelOffset><LineOffset>{size * info.width}</LineOffset>
<ByteOrder>LSB</ByteOrder>
</VRTRasterBand>
</VRTDataset>
"""


def _colour_table() -> str:
    entries = (_COLOURS.get(value, (0, 0, 0)) for value in range(256))
    texts = (f'<Entry c1="{red}" c2="{green}" c3="{blue}" c4="255"/>' for red, green, blue in entries)
    return f'<ColorInterp>Palette</ColorInterp><ColorTable>{"".join(texts)}</ColorTable>'
