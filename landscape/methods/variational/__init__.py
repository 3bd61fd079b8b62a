"""Frameworks that infer a Gaussian by gradient descent on its parameters."""
