"""Posteriors from the objects of other packages: one small file for each package."""
