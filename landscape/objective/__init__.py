"""The loss of a network on data as a function of its weights, and what it needs."""
