"""Georeferenced rasters: names, headers, pairs and areas of pixels."""
