"""How much the loss rises near given weights."""
