"""Laplace: a Gaussian around a point, from the curvature of the loss."""
