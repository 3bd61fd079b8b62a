"""The cross-entropy in slices is torch's, with its derivatives."""

import pytest
import torch
from cases import generator
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.autograd import cross_entropy
from landscape.autograd.cross_entropy import sliced_cross_entropy
from landscape.autograd.tensor_memory import SavedTensors
from landscape.objective import label_loss
from landscape.objective.losses import Criterion, Readout

LABELS = torch.tensor([0, 3, -100, 2, 2, 4, 1, -100])
LOGITS = torch.randn(8, 5, dtype=torch.float64, generator=generator(0)) * 3
WEIGHTS = torch.randn(8, dtype=torch.float64, generator=generator(1))


@pytest.mark.parametrize("size", [1, 15, 1000])
def test_slices_have_torchs_loss_gradient_and_hessian(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(cross_entropy, "_SLICE", size)

    def ours(logits: Tensor) -> Tensor:
        return (WEIGHTS * sliced_cross_entropy(logits.tanh(), LABELS, -100)).square().sum()

    def torchs(logits: Tensor) -> Tensor:
        return (WEIGHTS * F.cross_entropy(logits.tanh(), LABELS, reduction="none")).square().sum()

    torch.testing.assert_close(ours(LOGITS), torchs(LOGITS))
    for derivative in (torch.autograd.functional.jacobian, torch.autograd.functional.hessian):
        torch.testing.assert_close(derivative(ours, LOGITS), derivative(torchs, LOGITS))


def test_a_label_that_is_no_class_is_found() -> None:
    for wrong in (5, -1):
        labels = LABELS.clone()
        labels[0] = wrong
        with pytest.raises(IndexError):
            sliced_cross_entropy(LOGITS, labels, -100)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1)])
def test_tokens_of_a_large_vocabulary_are_taken_in_slices(
    monkeypatch: pytest.MonkeyPatch, loss: nn.Module
) -> None:
    logits = torch.randn(3, 4, 6, generator=generator(2)).requires_grad_()
    labels = torch.randint(6, (3, 4), generator=generator(3))
    values, saved = [], []
    for least in (1, 1 << 24):
        monkeypatch.setattr(label_loss, "_LARGE", least)
        memory = SavedTensors()

        def graph() -> Tensor:
            total, weight = Criterion(Readout(loss))(logits.tanh(), labels)
            (slope,) = torch.autograd.grad(total / weight, logits, create_graph=True)
            return slope

        slope = memory.counting(graph)
        values.append(torch.autograd.grad(slope.square().sum(), logits)[0])
        saved.append(memory.nbytes)
    torch.testing.assert_close(*values)
    is_sliced = not getattr(loss, "label_smoothing", 0.0)
    assert (saved[0] < saved[1]) == is_sliced
