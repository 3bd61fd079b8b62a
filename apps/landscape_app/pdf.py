"""A figure that the browser has drawn, as a page of PDF."""

from __future__ import annotations

from typing import Any

from landscape.errors import InputError

MOST_BYTES = 32 << 20
"""Largest size of a drawing. A surface in 3D, which is an image in it, takes about 1 MB."""

# The page is as large as the figure. Nothing else can be read: there is no other file.
_PAGE = b'#set page(width: auto, height: auto, margin: 0pt)\n#image("figure.svg")'


def to_pdf(drawing: bytes) -> bytes:
    """Write an SVG as a PDF of one page of the same size: lines stay lines, and text stays text.

    Args:
        drawing: The SVG. It may come from anybody; what it links to is not followed.

    Raises:
        InputError: it is not an SVG, it is too large, or Typst is not installed.
    """
    if len(drawing) > MOST_BYTES:
        raise InputError(f"the drawing is larger than {MOST_BYTES >> 20} MiB: refused")
    try:
        import typst
    except ImportError as error:
        raise InputError("PDF needs 'pip install landscape[pdf]'") from error
    files: Any = {"main.typ": _PAGE, "figure.svg": drawing}  # its stubs know no dict
    try:
        page = typst.compile(files, format="pdf")
    except typst.TypstError as error:
        reason = (str(error).splitlines() or ["unknown"])[0]
        raise InputError(f"the drawing cannot be written as PDF: {reason}") from error
    if not isinstance(page, bytes):  # more pages than one
        raise InputError("the drawing does not fit on one page of PDF")
    return page
