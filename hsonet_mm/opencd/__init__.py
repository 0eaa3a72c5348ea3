"""Repairs for Open-CD and the packages below it, and a stand-in where Open-CD is not installed.

:mod:`~hsonet_mm.opencd.compat` knows the installed packages; :mod:`~hsonet_mm.opencd.stand_in` has the part of
Open-CD's interface that our configs use, and is imported where Open-CD is not installed. ``python -m hsonet_mm.opencd
TOOL.py`` runs a tool of Open-CD.
"""
