"""See what a network does: relation maps, Grad-CAM, features of hard and easy pixels, and how they came about."""
