"""Balls: where a framework takes its gradient."""
