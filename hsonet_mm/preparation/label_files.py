"""Labels of a source: rasters read by the coding of the set, or polygons rasterised onto the grid of their image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.images import Raster, read_raster
from hsonet_mm.index import VECTOR_SUFFIXES, Index, SceneFiles, belongs
from hsonet_mm.labels import LabelCoding, LabelSurvey, RawLabel, Value, classes_of, raw_label, survey_labels
from hsonet_mm.preparation.sources import Source

__all__ = ['Label', 'find_coding', 'read_scene_label']


@dataclass(frozen=True)
class Label:
    """A change label.

    Classes are 0 unchanged, 1 changed, :data:`hsonet_mm.labels.IGNORED` not labelled; ``noisy`` ones were thresholded
    at 128.
    """

    classes: NDArray[np.uint8]
    raster: Raster | None = None
    noisy: bool = False

    @property
    def bands(self) -> int:
        """Number of bands in the file."""
        return 1 if self.raster is None else self.raster.values.shape[2]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where something changed, (H, W)."""
        return self.classes == 1


def find_coding(
    source: Source, index: Index, changed: Sequence[Value] = (), ignored: Sequence[Value] = ()
) -> LabelSurvey:
    """The label coding of a source: declared, recorded beside the labels, or inferred from all of them."""
    written = None if changed or ignored else source.declared_coding(index.root)
    if written is not None:
        return written
    labels = {
        scene.files['label']: scene.split or 'all'
        for scene in index.scenes
        if 'label' in scene.files and not belongs(scene.files['label'], VECTOR_SUFFIXES)
    }
    return survey_labels(labels, lambda name: _load(source, name)[0], changed, ignored)


def _load(source: Source, name: str) -> tuple[RawLabel, Raster]:
    """A label as stored in its file, and the raster."""
    raster = read_raster(name, lambda _: source.read(name), every=True)
    return raw_label(raster), raster


def read_scene_label(source: Source, scene: SceneFiles, coding: LabelCoding) -> Label:
    """Read the label of a scene; the rules are those of training."""
    name = scene.files['label']
    if belongs(name, VECTOR_SUFFIXES):
        return Label(source.burn(scene).astype(np.uint8))
    label, raster = _load(source, name)
    noisy = (
        coding.unchanged is not None
        and (coding.lossy or not label.exact)
        and not np.isin(label.values, (0, 255)).all()
    )
    return Label(classes_of(label, coding, name), raster, noisy)
