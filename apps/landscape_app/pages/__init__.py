"""The two pages: the list of runs, and one run."""
