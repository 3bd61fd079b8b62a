"""Run files: schema, atomic writing, safe reading."""

from landscape.store.run import Group, Run, ensure_new, ensure_writable

__all__ = ["Group", "Run", "ensure_new", "ensure_writable"]
