"""Inspect networks: relation maps, Grad-CAM, features of hard and easy pixels, and their development in training."""
