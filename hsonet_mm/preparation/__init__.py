"""Bringing images and labels into the layout that training reads, and checking what is there."""
