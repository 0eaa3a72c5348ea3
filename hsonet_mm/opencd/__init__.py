"""The part of Open-CD's interface that our configs use, for environments without Open-CD.

:mod:`hsonet_mm.components` imports :mod:`hsonet_mm.opencd.components` if, and only if, Open-CD cannot be imported. The
components register in scope ``opencd`` under Open-CD's names and keep its call contracts and state-dict keys, so that
one config runs on both and a checkpoint moves between them. They are thin layers over MMEngine, MMCV and
MMSegmentation; see the Open-CD project (Li et al., *Open-CD: A Comprehensive Toolbox for Change Detection*,
arXiv 2407.15317) for the whole.
"""
