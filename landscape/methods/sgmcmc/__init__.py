"""Frameworks that sample by stochastic-gradient Markov chains."""
