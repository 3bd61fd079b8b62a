"""What an example is, and which batches can be divided."""

from typing import Any

import pytest
import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.objective.batches import batch_size, examples_in, take_batch


def rows(*shape: int) -> Tensor:
    return torch.arange(float(torch.tensor(shape).prod())).view(*shape)


BOXES = [{"boxes": rows(1, 4)}, {"boxes": rows(7, 4)}, {"boxes": rows(2, 4)}]


@pytest.mark.parametrize(
    ("inputs", "targets", "outputs", "size"),
    [
        (rows(5, 2), rows(5), None, 5),
        (rows(5, 2), (rows(5), rows(5, 3)), None, 5),
        (rows(5, 2), {"a": rows(5), "b": rows(5, 3)}, None, 5),
        (rows(3, 2), BOXES, None, 3),  # not the boxes of the first image
        (object(), BOXES, None, 3),
        (rows(3, 2), tuple(tuple(each.values()) for each in BOXES), None, 3),
        (rows(3, 2), [rows(1), rows(7), rows(2)], None, 3),
        (rows(2, 2), [rows(2), rows(2)], None, 2),
        (rows(3, 2), (rows(10, 4), torch.tensor([1, 7, 2])), None, 3),  # one after the other
        (rows(3, 2), rows(10, 4), rows(3, 6), 3),
        ((rows(30, 4), rows(2, 60)), rows(4), rows(4, 2), 4),  # graphs of 30 nodes together
        (object(), rows(4), None, 4),
        (rows(2, 8), rows(2, 8), rows(16, 100), 2),  # sequences of tokens
        (rows(3, 2), ["one", "two", "three"], None, 3),
        (rows(0, 2), rows(0), None, 0),
    ],
)
def test_the_size_of_a_batch(inputs: Any, targets: Any, outputs: Any, size: int) -> None:
    assert batch_size(inputs, targets, outputs) == size


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        (rows(5, 2), rows(5)),
        ((rows(5, 2), rows(5, 3)), rows(5)),
        ([rows(5, 2), rows(5, 3)], (rows(5), rows(5))),
        ({"x": rows(5, 2), "scale": 2.0}, rows(5)),
        (rows(3, 2), BOXES),
        (rows(3, 2), [rows(1), rows(7), rows(2)]),
    ],
)
def test_examples_are_taken_from_all_that_has_them(inputs: Any, targets: Any) -> None:
    size = examples_in((inputs, targets))
    assert size == batch_size(inputs, targets)
    part = take_batch((inputs, targets), torch.tensor([2, 0]), size)
    assert batch_size(*part) == 2
    first = part[1][1] if isinstance(targets, list) else part[1]
    expected = (
        targets[0] if isinstance(targets, list) else take_batch((inputs, targets), [2, 0], size)[1]
    )
    assert str(first) == str(expected)


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        ((rows(24, 5), rows(2, 60)), rows(24)),  # a graph by its edges
        (object(), rows(5)),
        ((rows(5, 2), object()), rows(5)),
        (rows(5, 2), rows(7)),
        (rows(5, 2), (rows(5), rows(3))),
    ],
)
def test_what_is_one_thing_is_not_divided(inputs: Any, targets: Any) -> None:
    assert examples_in((inputs, targets)) is None


def test_targets_of_which_nothing_says_how_many_they_are_are_refused() -> None:
    for targets in ([0, 1], {}, None, torch.tensor(1), rows(2).numpy()):
        with pytest.raises(InputError, match=r"targets must be a tensor|single examples"):
            batch_size(rows(2, 3), targets)
