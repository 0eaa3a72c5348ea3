"""Pages to view change maps of scenes, from the disk and without network: ``hsonet view``.

The entries are :func:`hsonet_mm.viewer.page.view_scene` and :func:`hsonet_mm.viewer.report.view_scenes`. Needs the
packages of the extra ``geo``, and OpenCV, which comes with what runs models.
"""
