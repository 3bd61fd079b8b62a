"""Matrices of second derivatives, known by their matvecs with vectors."""
