"""Eigenvalues, traces, diagonals and spectral densities of any symmetric operator."""
