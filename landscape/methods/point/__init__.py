"""Frameworks that infer one weight vector."""
