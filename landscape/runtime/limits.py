"""Limits for the contents of files, shared by all commands and the dashboard.

Files may be malicious. A few hundred kilobytes can declare a billion numbers, which unpack to
gigabytes. Every reader therefore checks the declared sizes first, and refuses files beyond these
limits before it reads their contents.
"""

from __future__ import annotations

import os

MAX_BYTES = 1 << 30
"""Number of bytes of all numbers in a run file, in the types in which they are read."""
MAX_CHUNKS = 50_000
"""Number of HDF5 chunks in a run file. Every chunk takes time, even an empty one."""
MAX_OBJECTS = 10_000
"""Number of groups and variables in a run file."""
MAX_NAME = 255
"""Number of bytes in the name of a group or a variable."""
MAX_MEMBERS = 1_000
"""Number of surfaces, and of lines, in a run file."""
MAX_DEPTH = 4
"""Depth of nested groups in a run file."""
MAX_ATTRIBUTES = 1_000
"""Number of attributes of one group."""
MAX_ALL_ATTRIBUTES = 16_000
"""Number of attributes of all groups in a run file."""
MAX_ATTRIBUTE_BYTES = 1 << 20
"""Number of bytes in the attributes of one group."""
MAX_OVERHEAD = 1 << 25
"""Number of bytes in a run file besides its numbers: attributes, names and indices."""

MAX_LEVELS = 64
"""Depth of nested lists and objects in JSON."""
MAX_HEADER = 1 << 24
"""Number of bytes in the header of a safetensors file."""
MAX_SETTINGS = 1 << 20
"""Number of bytes in a file of settings."""
MAX_PIXELS = 50_000_000
"""Number of pixels in an image."""

MAX_DRAWN = 600_000
"""Number of values in one figure."""
MAX_EXPORTED = 3_000_000
"""Number of points of a run's surfaces in one export."""
MAX_DRAWN_SAMPLES = 5_000
"""Number of posterior samples in one figure."""
MAX_DRAWN_MEMBERS = 100
"""Number of surfaces, lines or eigenvalues of one run in a figure."""

RATIO = 16
"""Largest ratio of unpacked to stored size of a run file. Computed numbers compress badly."""
DATA_RATIO = 100
"""The same ratio for data files. Images in double precision compress well."""
_ALWAYS = 1 << 24


def max_unpacked(stored: int, ratio: int) -> int:
    """Number of bytes that a compressed file of ``stored`` bytes may unpack to.

    Every file may unpack to 16 MiB, because an array of equal numbers compresses extremely well.
    """
    return _ALWAYS + ratio * stored


def stored_bytes(status: os.stat_result) -> int:
    """Number of bytes that a file takes on the disk. Sparse files take fewer than their length."""
    on_disk = 512 * status.st_blocks
    return min(status.st_size, on_disk) if on_disk else status.st_size
