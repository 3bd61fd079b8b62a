"""Run files: schema, atomic writing, safe reading."""

from landscape.results import SampleMean
from landscape.store.groups import Group
from landscape.store.run import Run, ensure_new, ensure_writable
from landscape.store.summary import Summary, summarise

__all__ = ["Group", "Run", "SampleMean", "Summary", "ensure_new", "ensure_writable", "summarise"]
