"""Sharpness: the rise of the loss near given weights."""
