"""What a file may ask of its reader: one budget for every command and the dashboard.

A file may come from anybody. A few hundred kilobytes can declare a billion numbers, which take
gigabytes once they are unpacked. So every reader asks for the size of the whole request first, and
refuses what is beyond these limits before it reads a byte of it.
"""

from __future__ import annotations

import os

MAX_BYTES = 1 << 30
"""Bytes of all numbers of a run file, each in the type that it is read as."""
MAX_CHUNKS = 50_000
"""Pieces that the numbers of a run file are stored in; each takes time, also an empty one."""
MAX_OBJECTS = 10_000
"""Groups and variables of a run file."""
MAX_NAME = 255
"""Bytes of the name of a group or a variable."""
MAX_MEMBERS = 1_000
"""Surfaces and lines of a run file."""
MAX_DEPTH = 4
"""Groups within groups of a run file."""
MAX_ATTRIBUTES = 1_000
"""Attributes of one group."""
MAX_ALL_ATTRIBUTES = 16_000
"""Attributes of all groups of a run file."""
MAX_ATTRIBUTE_BYTES = 1 << 20
"""Bytes of the attributes of one group."""
MAX_OVERHEAD = 1 << 25
"""Bytes of a run file that are no numbers: attributes, names and indices."""

MAX_LEVELS = 64
"""Lists and objects within each other in JSON."""
MAX_HEADER = 1 << 24
"""Bytes of the description at the head of a safetensors file."""
MAX_SETTINGS = 1 << 20
"""Bytes of a file of settings."""
MAX_PIXELS = 50_000_000
"""Pixels of an image."""

MAX_DRAWN = 600_000
"""Numbers that one figure is drawn of."""
MAX_EXPORTED = 3_000_000
"""Points of all surfaces of one run that are written at once."""
MAX_DRAWN_SAMPLES = 5_000
"""Posterior samples that one figure is drawn of."""
MAX_DRAWN_MEMBERS = 100
"""Surfaces, lines or eigenvalues of one run that are drawn."""

RATIO = 16
"""Times its size that a run file may unpack to: numbers that were computed hardly compress."""
DATA_RATIO = 100
"""Times its size that a file of data may unpack to: images in double precision compress well."""
_ALWAYS = 1 << 24


def unpacked(stored: int, ratio: int) -> int:
    """Bytes that a compressed file of ``stored`` bytes may unpack to.

    16 MiB are believed of any file, for an array may hold the same number everywhere.
    """
    return _ALWAYS + ratio * stored


def stored_bytes(status: os.stat_result) -> int:
    """Bytes that a file takes on the disk: fewer than its length where it has holes."""
    on_disk = 512 * status.st_blocks
    return min(status.st_size, on_disk) if on_disk else status.st_size
