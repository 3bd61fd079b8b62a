"""Conversion of a figure that the browser has drawn to a PDF page."""

from __future__ import annotations

import importlib.util
from typing import Any

from landscape.errors import InputError

MOST_BYTES = 32 << 20
"""Largest size of a drawing. A surface in 3D is stored as an image of about 1 MB."""

# The page is as large as the figure. Typst can read no other file: it is given none.
_PAGE = b'#set page(width: auto, height: auto, margin: 0pt)\n#image("figure.svg")'


def can_write_pdf() -> bool:
    """Whether Typst is installed."""
    return importlib.util.find_spec("typst") is not None


def to_pdf(drawing: bytes) -> bytes:
    """Convert an SVG to one PDF page of the same size. Lines and text stay vectors and text.

    Args:
        drawing: The SVG. It is not trusted, and its links are not followed.

    Raises:
        InputError: it is not an SVG, it is too large, or Typst is not installed.
    """
    if len(drawing) > MOST_BYTES:
        raise InputError(f"the drawing is larger than {MOST_BYTES >> 20} MiB: refused")
    try:
        import typst
    except ImportError as error:
        raise InputError("PDF needs 'pip install typst'") from error
    files: Any = {"main.typ": _PAGE, "figure.svg": drawing}  # its stubs do not allow a dict
    try:
        page = typst.compile(files, format="pdf")
    except typst.TypstError as error:
        reason = (str(error).splitlines() or ["unknown"])[0]
        raise InputError(f"the drawing cannot be written as PDF: {reason}") from error
    if not isinstance(page, bytes):  # more than one page
        raise InputError("the drawing does not fit on one page of PDF")
    return page
