"""Georeferenced rasters: where they lie, their headers, pairs of them and the areas of their pixels."""
