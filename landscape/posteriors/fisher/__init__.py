"""Steps of a low-rank Gaussian in the metric of its Fisher information."""
