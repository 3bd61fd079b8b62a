"""A budget that a test can afford."""

from landscape.study import Budget

TINY = Budget(
    seeds=2,
    trials=2,
    tuning_seeds=1,
    epochs=4,
    source_epochs=12,
    samples=3,
    measured=2,
    severities=(5,),
)
ONLY = ["map"]


def silent(label: str) -> object:
    return lambda done, total: None
