"""The browser for run files: pure readers, pure figures, a Dash server."""
