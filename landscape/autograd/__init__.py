"""All use of torch's internals."""
