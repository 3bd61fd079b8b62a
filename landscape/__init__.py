"""Bayesian neural networks with flat posteriors, and how flat a posterior is."""
