"""The study of flatness measures, on run files whose relations are known."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from landscape.cli import main
from landscape.errors import InputError
from landscape.store import Run
from landscape.study import flatness_measures as study

NAMES = ["fisher_rao", "pac_bayes_sigma"]


def write_run(
    folder: Path, name: str, seed: int, flatness: float, nll: float, **settings: Any
) -> Path:
    """A run of three samples. fisher_rao is ``flatness``, 1 / sigma its inverse."""
    steps = np.array([1.0, 1.1, 1.3])
    loss = 0.1 * steps
    value = np.column_stack([flatness * steps, 1 / (flatness * steps)])
    eigenvalues = np.outer(steps, [10.0, 8, 6, 5, 4])
    curvature = {"sample": [0, 1, 2], "eigenvalues": eigenvalues, "trace": steps, "loss": loss}
    sharpness = {"sample": [0, 1, 2], "value": value, "seconds": steps}
    of_samples = {"nll": nll - loss, "accuracy": 1 - nll * steps / 20, "ece": steps / 10}
    run = Run.create(
        folder / f"{name}-{len(settings)}-seed{seed}.h5",
        groups={
            "samples": (curvature, {}),
            "sharpness": (sharpness, {"measures": json.dumps(NAMES)}),
            "predictions": (of_samples, {"nll": nll, "accuracy": 1 - nll / 20, "ece": nll / 20}),
        },
        method=name,
        seed=seed,
        status="complete",
        task="digits",
        parameter_count=7,
        posterior_file=f"{name}.safetensors",
        posterior_fingerprint=f"{name}{seed}{settings}",
        data_fingerprint=f"data {seed}",
        config={"method": {"name": name, "ball": "none", "epochs": 10, **settings}},
    )
    return run.path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for index in range(6):
        for seed in range(2):
            flatness = math.exp(index / 4 + 0.1 * generator.normal() + seed)
            nll = 1 + index / 10 + 0.15 * generator.normal() + 3 * seed
            write_run(tmp_path / "runs", f"m{index}", seed, flatness, nll)
    return tmp_path


def table(tables: list[study.Table], title: str) -> dict[str, tuple[str, ...]]:
    (chosen,) = [one for one in tables if one.title == title]
    return {row[0]: row[1:] for row in chosen.rows}


def first_number(cell: str) -> float:
    return float(cell.rstrip("*").split()[0])


def test_rank_correlations_are_those_within_each_seed(runs: Path) -> None:
    finished = [study.read_run(run, NAMES, 3) for run in study.find_runs([runs])]
    assert len(finished) == 12
    tables = study.tables_of(finished, NAMES)
    rhos, taus = [], []
    for seed in range(2):
        points = [
            (one.mean("fisher_rao"), one.targets["NLL"])
            for one in finished
            if int(one.run.attributes["seed"]) == seed
        ]
        rhos.append(stats.spearmanr(*zip(*points, strict=True)).statistic)
        taus.append(stats.kendalltau(*zip(*points, strict=True)).statistic)
    between = table(tables, "Between methods")
    assert first_number(between["fisher_rao"][0]) == pytest.approx(np.mean(rhos), abs=6e-3)
    # 1 / sigma is the same measure here, and the eigenvalues of all runs are equal.
    assert between["pac_bayes_sigma"] == between["fisher_rao"]
    assert between["lambda_1"] == ("-",) * 4
    by_pairs = table(tables, "Kendall's tau over pairs of runs that differ in one thing")
    assert first_number(by_pairs["fisher_rao"][0]) == pytest.approx(np.mean(taus), abs=6e-3)
    assert by_pairs["fisher_rao"][0] == by_pairs["fisher_rao"][1]  # all pairs are of two methods
    # Within a posterior error grows with the measure, and NLL falls, in each of the three pairs.
    within = table(tables, "Within a posterior")["fisher_rao"]
    assert [first_number(cell) for cell in within] == [-1, 1, 1, -1]
    picture = tables[0].figure
    assert picture is not None
    assert [panel.sideways for panel in picture.panels] == [True] * 4
    shown = picture.panels[0].series[0]
    place = shown.x.index("fisher_rao")
    assert shown.y[place] == pytest.approx(np.mean(rhos), abs=1e-4)
    assert shown.low[place] < shown.y[place] < shown.high[place]


def test_pairs_that_differ_in_one_setting(tmp_path: Path) -> None:
    """Longer training makes both methods sharper and better, whatever is between the methods."""
    for method, (flatness, nll) in {"a": (1.0, 1.0), "b": (8.0, 4.0)}.items():
        write_run(tmp_path, method, 0, flatness, nll, rate=0.1)
        write_run(tmp_path, method, 0, 2 * flatness, nll - 0.5, rate=0.1, momentum=0.9)
    finished = [study.read_run(run, NAMES, 3) for run in study.find_runs([tmp_path])]
    axes = study.varied(finished)
    assert axes == ["momentum"]
    pairs = study.pairs_by_axis(finished, axes)
    assert {axis: len(chosen) for axis, chosen in pairs.items()} == {
        "": 6,
        "momentum": 2,
        "method": 2,
    }
    tables = study.tables_of(finished, NAMES)
    shown = table(tables, "Kendall's tau over pairs of runs that differ in one thing")
    # all, method, momentum, then the means
    assert [first_number(cell) for cell in shown["fisher_rao"][:4]] == [0.33, 1, -1, 0]


def test_fp_bma_is_compared_with_the_same_training_without_its_ball(tmp_path: Path) -> None:
    ratios = [0.5, 0.6, 0.4]
    for seed, ratio in enumerate(ratios):
        write_run(tmp_path, "vi", seed, 2.0, 1.0, beta=0.1)
        write_run(tmp_path, "vi", seed, 9.0, 1.0, beta=0.1, prior=3)  # another prior
        write_run(
            tmp_path, "fp-bma", seed, 2.0 * ratio, 1.1, beta=0.1, ball="posterior-exact", radius=2
        )
    finished = [study.read_run(run, NAMES, 3) for run in study.find_runs([tmp_path])]
    (shown,) = study.flatter(finished, ["training loss", "fisher_rao"])
    assert shown.columns == ("measure", "fp-bma / vi")
    cells = {row[0]: row[1] for row in shown.rows}
    logs = np.log(ratios)
    half = stats.t.ppf(0.975, 2) * logs.std(ddof=1) / math.sqrt(3)
    ends = np.exp([logs.mean(), logs.mean() - half, logs.mean() + half])
    numbers = [float(part.strip("[],")) for part in cells["fisher_rao"].rstrip("*").split()]
    assert numbers == pytest.approx(ends, rel=5e-3)
    # One test remains, since the losses and the NLLs differ by constants.
    p = stats.ttest_1samp(logs, 0).pvalue
    assert cells["fisher_rao"].endswith("*") == (p < 0.05)
    assert cells["NLL"].startswith("1.10")


def test_what_is_missing_is_measured_once(
    demo_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("map", "vi"):
        for ending in (".h5", ".safetensors"):
            shutil.copy(demo_runs / (name + ending), tmp_path)
    before = {
        name: Run.open(tmp_path / f"{name}.h5")["samples"]["seconds"] for name in ("map", "vi")
    }
    command = ["study", "measures", "--runs", str(tmp_path), "--out", str(tmp_path / "page")]
    command += ["--sharpness", "fisher_rao", "--measured", "2"]
    assert main(command) == 0
    seconds = {}
    for name, samples in (("map", 1), ("vi", 2)):
        run = Run.open(tmp_path / f"{name}.h5")
        assert len(run["sharpness"]["sample"]) == samples
        # The eigenvalues that were there are not measured again.
        np.testing.assert_array_equal(run["samples"]["seconds"], before[name])
        seconds[name] = run["sharpness"]["seconds"].tolist()
    text = (tmp_path / "page" / "measures.md").read_text()
    assert "3 samples of 2 runs" in text
    assert json.loads((tmp_path / "page" / "measures.json").read_text())
    assert main([*command[:-1], "3"]) == 0
    again = Run.open(tmp_path / "vi.h5")["sharpness"]["seconds"].tolist()
    assert again[:2] == seconds["vi"]
    assert len(again) == 3
    capsys.readouterr()
    assert main([*command, "--methods", "vi"]) == 2
    assert "share task, data, network and seed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["measures"], "measures compares the runs of --runs"),
        (["measures", "--runs", "none"], "none holds no run files"),
        (["measures", "--runs", "none", "--sharpness", "width"], "unknown sharpness 'width'"),
        (["toy", "--runs", "none"], "--runs and --sharpness belong to the study 'measures'"),
        (["measures", "--runs", "none", "--task", "digits"], "no --task, --model or --weights"),
    ],
)
def test_bad_requests_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", *arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_samples_of_another_seed_than_the_predictions_are_refused(tmp_path: Path) -> None:
    run = Run.open(write_run(tmp_path, "map", 0, 1.0, 1.0))
    samples = dict(run["samples"])
    run.write("samples", samples, {"matrix": "gauss-newton"})
    with pytest.raises(InputError, match="eigenvalues of gauss-newton"):
        study.read_run(run, NAMES, 3)
    run.write("samples", samples, {"seed": 7})
    run.write("predictions", dict(run["predictions"]), {**run["predictions"].attributes, "seed": 0})
    with pytest.raises(InputError, match="samples of seed 7, predictions of 0"):
        study.read_run(run, NAMES, 3)


def test_copies_of_a_run_count_once(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "runs", tmp_path / "copies")
    assert len(study.find_runs([runs, tmp_path / "copies"])) == 12
    with pytest.raises(InputError, match="no two of 2 classifiers"):
        study.find_runs([runs], ["m0"])
