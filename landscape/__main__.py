"""``python -m landscape`` is the command line."""

import sys

from landscape.cli import main

sys.exit(main())
