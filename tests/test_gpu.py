"""What is computed on a GPU is what is computed on a CPU. Skipped where there is no GPU."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import landscape as ls
from landscape.autograd.cuda_graphs import Recorder
from landscape.cli import main
from landscape.curvature import measure, spectral_density, top_eigenvalues, trace
from landscape.curvature.matrices import MATRICES, Matrix, operator_at
from landscape.methods import METHODS
from landscape.running_stats import normalisation, one_batch
from landscape.runtime import executors

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
GPU = torch.device("cuda", 0)
NETWORKS = {
    "convnet": lambda: ls.models.build("convnet", input_shape=(1, 8, 8), classes=3),
    "resnet20": lambda: ls.models.build("resnet20", input_shape=(1, 8, 8), classes=3),
    "vit": lambda: ls.models.build("vit", input_shape=(1, 8, 8), classes=3),
    "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 3)),
}
each_network = pytest.mark.parametrize("name", NETWORKS)


def batches(*sizes: int, dtype: torch.dtype = torch.float32) -> list[tuple[Tensor, Tensor]]:
    """On the host, as a loader gives them."""
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(size, 1, 8, 8, generator=generator, dtype=dtype),
            torch.randint(3, (size,), generator=generator),
        )
        for size in sizes
    ]


def objectives(name: str, dtype: torch.dtype, *sizes: int) -> list[ls.Objective]:
    """The same on the CPU and on the GPU."""
    torch.manual_seed(0)
    model = NETWORKS[name]().to(dtype)
    data = batches(*sizes, dtype=dtype)
    return [
        ls.Objective(ls.ParameterSpace(model, device=device), data) for device in ("cpu", "cuda")
    ]


@each_network
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_derivatives_and_losses_are_those_of_the_cpu(name: str, dtype: torch.dtype) -> None:
    assert torch.backends.cudnn.allow_tf32  # torch's default, which would be seen below
    close: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-5}
    if dtype == torch.float64:
        close = {"rtol": 1e-9, "atol": 1e-12}
    cpu, gpu = objectives(name, dtype, 16, 5)
    w = cpu.space.vector()
    operator, on_gpu = cpu.hessian(w), gpu.hessian(w.cuda())
    for seed in range(4):  # those after the second are replayed
        v = torch.randn(w.shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
        v /= v.norm()
        torch.testing.assert_close(on_gpu(v.cuda()).cpu(), operator(v), **close)
    torch.testing.assert_close(gpu.gradient(w.cuda()).cpu(), cpu.gradient(w), **close)
    for shift in range(4):
        there, here = gpu.evaluate(w.cuda() + 0.01 * shift), cpu.evaluate(w + 0.01 * shift)
        assert there.loss == pytest.approx(here.loss, rel=10 * close["rtol"] ** 1.5)
        assert there.accuracy == here.accuracy


@each_network
@pytest.mark.parametrize("matrix", MATRICES)
def test_a_product_that_is_replayed_is_the_one_that_was_recorded(name: str, matrix: Matrix) -> None:
    _, gpu = objectives(name, torch.float64, 16, 5)
    w = gpu.space.vector()
    v, other = torch.randn(2, gpu.size, device=GPU, dtype=w.dtype)
    product: Any = operator_at(gpu, w, matrix)
    results = [product(each) for each in (v, v, v, other, v)]
    assert product._recorder._recordings  # else nothing is replayed here
    expected = operator_at(gpu, w, matrix)(other)
    for found, truth in zip(results, [results[0]] * 3 + [expected, results[0]], strict=True):
        torch.testing.assert_close(found, truth, rtol=1e-10, atol=1e-12)


class Waiting(nn.Module):
    """Reads a number from the device in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layer(x.flatten(1))
        return outputs if float(self.layer.bias.detach().sum()) > 0 else 2 * outputs


def test_a_network_that_waits_for_the_gpu_is_not_recorded_and_harms_nothing() -> None:
    torch.manual_seed(0)
    model, data = Waiting(), batches(16, 5)
    cpu, gpu = (
        ls.Objective(ls.ParameterSpace(model, device=device), data) for device in ("cpu", "cuda")
    )
    w = cpu.space.vector()
    for shift in (0.0, 0.1, -0.1, 3.0):
        there, here = gpu.evaluate(w.cuda() + shift), cpu.evaluate(w + shift)
        assert there.loss == pytest.approx(here.loss, rel=1e-5)
    assert not gpu._recorder._recordings
    operator = gpu.hessian(w.cuda())
    v = torch.randn_like(w)
    for _ in range(3):
        torch.testing.assert_close(
            operator(v.cuda()).cpu(), cpu.hessian_product(w, v), rtol=1e-3, atol=1e-6
        )
    torch.randn(3, device=GPU)  # the device's generator is as it was
    again = objectives("convnet", torch.float32, 8)[1]
    at = again.space.vector()
    losses = {again.evaluate(at).loss for _ in range(4)}
    assert len(losses) == 1
    assert again._recorder._recordings


def test_shapes_without_end_are_not_recorded_without_end() -> None:
    recorder = Recorder(GPU)
    with recorder.stream():
        for size in (*range(1, 40), *range(1, 40)):
            x = torch.full((size,), float(size), device=GPU)
            assert float(recorder(lambda x: 2 * x.sum(), x)) == 2 * size**2
    assert len(recorder._recordings) <= 8


def test_threads_record_beside_each_other() -> None:
    _, gpu = objectives("convnet", torch.float32, 16, 5)
    w = gpu.space.vector()
    v = torch.randn_like(w)
    expected = gpu.hessian_product(w, v)
    turn = threading.Barrier(3)

    def work(_: int) -> list[Tensor]:
        operator = objectives("convnet", torch.float32, 16, 5)[1].hessian(w)
        turn.wait(60)
        return [operator(v) for _ in range(20)]

    with ThreadPoolExecutor(3) as threads:
        for products in threads.map(work, range(3)):
            for product in products:
                torch.testing.assert_close(product, expected, rtol=1e-3, atol=1e-5)


def test_curvature_is_that_of_the_cpu() -> None:
    cpu, gpu = objectives("convnet", torch.float64, 16, 5)
    w = cpu.space.vector()
    here, there = top_eigenvalues(cpu, w, 3), top_eigenvalues(gpu, w.cuda(), 3)
    torch.testing.assert_close(there.values, here.values, rtol=2e-6, atol=0)
    assert bool(there.converged.all())
    total, on_gpu = trace(cpu, w, matvecs=200), trace(gpu, w.cuda(), matvecs=200)
    error = (total.standard_error**2 + on_gpu.standard_error**2) ** 0.5
    assert abs(total.value - on_gpu.value) < 5 * error + 1e-9
    for matrix in ("gauss-newton", "empirical-fisher"):
        here = top_eigenvalues(cpu, w, 2, matrix=matrix)
        there = top_eigenvalues(gpu, w.cuda(), 2, matrix=matrix)
        torch.testing.assert_close(there.values, here.values, rtol=2e-6, atol=0)
    density = spectral_density(gpu, w.cuda(), probes=2, steps=20)
    assert bool(density.density.isfinite().all())


def test_lower_precision_is_on_request_and_its_error_is_said() -> None:
    _, gpu = objectives("convnet", torch.float32, 16)
    w = gpu.space.vector()
    operator = gpu.hessian(w, autocast=torch.bfloat16)
    for _ in range(4):
        operator(torch.randn_like(w))
    assert operator.error is not None
    assert 1e-4 < operator.error < 0.5


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_surfaces_are_those_of_the_cpu(norm: str) -> None:
    torch.manual_seed(0)
    model = ls.models.build("resnet20", input_shape=(1, 8, 8), classes=3, normalisation=norm)
    data = batches(16, 16, 5)
    found = []
    for device in ("cpu", "cuda"):
        space = ls.ParameterSpace(model, device=device)
        weights = space.vector() + 0.05 * torch.randn(
            3, space.size, generator=torch.Generator().manual_seed(1)
        ).to(device)
        posterior = ls.Posterior(space, ls.posteriors.Samples(weights), calibration=data)
        found.append(ls.surface(posterior, data, shape=(3, 7), samples=3))
    here, there = found
    torch.testing.assert_close(torch.tensor(there.loss), torch.tensor(here.loss), rtol=1e-3, atol=0)
    assert abs(there.accuracy - here.accuracy).max() < 2 / 37


@pytest.mark.parametrize("share", [0.0, 4 / 3])
def test_running_statistics_are_those_of_the_cpu(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one batch and layer by layer, also on a stream of the caller's."""
    monkeypatch.setattr(one_batch, "_SMALL", 0)
    monkeypatch.setattr(one_batch, "_SHARE", share)
    torch.manual_seed(0)
    model = ls.models.build(
        "resnet20", input_shape=(1, 8, 8), classes=3, normalisation="batch"
    ).double()
    data = batches(16, 16, 5, dtype=torch.float64)

    def found(device: str) -> dict[str, Tensor]:
        space = ls.ParameterSpace(model, device=device)
        return normalisation.reestimate(space, space.vector(), data).buffers

    here, there = found("cpu"), found("cuda")
    with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
        on_stream = found("cuda")
    torch.cuda.synchronize()
    for name, value in here.items():
        for other in (there, on_stream):
            torch.testing.assert_close(other[name].cpu(), value, rtol=1e-9, atol=1e-12)


EPOCHS = {"swag": 20, "f-swag": 20, "cyclical-sgld": 60, "ptl": 60}
PRIORS = {"fp-bma": "--prior", "ptl": "--source"}


@pytest.mark.parametrize("method", METHODS)
def test_the_command_line_uses_the_gpu_and_a_cpu_goes_on(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(name: str, *more: str) -> None:
        epochs = ["--epochs", str(EPOCHS.get(name, 4))]
        arguments = ["train", "digits", name, "--out", str(tmp_path), "--name", name]
        assert main([*arguments, *epochs, *more]) == 0

    prior = []
    if method in PRIORS:
        train("swag")
        prior = [PRIORS[method], str(tmp_path / "swag.safetensors")]
    train(method, *prior)
    path = str(tmp_path / f"{method}.h5")
    measurement = ["measure", path, "--samples", "2", "--grid", "5", "--plane", "random"]
    assert main(measurement) == 0
    capsys.readouterr()
    assert main(["inspect", path, "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert torch.cuda.get_device_name(0) in json.dumps(about)
    # Samples and rows that are there are taken over: their losses are the same on a CPU.
    seconds = ls.Run.open(path)["samples"]["seconds"]
    assert main([*measurement, "--device", "cpu"]) == 0
    assert (ls.Run.open(path)["samples"]["seconds"] == seconds).all()


def test_worker_processes_share_the_gpu() -> None:
    torch.manual_seed(0)
    space = ls.ParameterSpace(NETWORKS["convnet"](), device=GPU)
    posterior = ls.Posterior(
        space, ls.posteriors.Samples(space.vector() + torch.zeros(3, 1).cuda())
    )
    data = batches(16, 5)
    alone = measure(posterior, data, samples=3, eigenvalues=2)
    with executors.workers(2) as executor:
        shared = measure(posterior, data, samples=3, eigenvalues=2, executor=executor)
    assert shared.eigenvalues == pytest.approx(alone.eigenvalues, rel=2e-3)
    assert shared.loss == pytest.approx(alone.loss, rel=1e-6)


def test_samples_leave_no_memory_behind() -> None:
    torch.manual_seed(0)
    space = ls.ParameterSpace(NETWORKS["resnet20"](), device=GPU)
    weights = space.vector() + 0.01 * torch.randn(8, space.size, device=GPU)
    posterior = ls.Posterior(space, ls.posteriors.Samples(weights), calibration=batches(16, 5))
    held = []

    def note(*_: Any) -> None:
        held.append(torch.cuda.memory_allocated())

    measure(posterior, batches(16, 5), samples=8, eigenvalues=1, trace_matvecs=5, progress=note)
    assert held[-1] <= held[2] + 2**20
