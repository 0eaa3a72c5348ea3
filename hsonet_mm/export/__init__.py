"""Exporting models to files that run without PyTorch or without this package."""
