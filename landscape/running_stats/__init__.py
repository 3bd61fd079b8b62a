"""Running statistics of normalisation layers, estimated again for given weights."""
