"""Change maps of georeferenced scenes of any size: read, predicted, blended and written tile by tile.

The entry is :func:`hsonet_mm.scenes.scene.detect_scene`. Needs the packages of the extra ``geo``, and OpenCV,
which comes with what runs models; PyTorch only if the detector does.
"""
