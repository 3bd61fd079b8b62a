"""What the package needs of torch's internals, in one place."""
