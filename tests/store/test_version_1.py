"""A run file that an older version wrote: read, summarised, measured further, and shown.

``version-1.h5.gz`` and ``version-1.safetensors`` are of version 0.1.0, schema version 1: two layers
of 27 parameters trained by SWAG on the data below, three samples measured with ``max_products=40``
and ``trace_products=8``, a plane along random directions and a Bezier curve of 3 points.
"""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from landscape_app import exports
from landscape_app.settings import flattened

from landscape import posteriors, workflow
from landscape.curvature import measure
from landscape.errors import InputError, LandscapeWarning
from landscape.posteriors import isotropic
from landscape.store import Run, schema, summarise
from landscape.surfaces import line, surface

HERE = Path(__file__).parent
SETTINGS: dict[str, Any] = {"eigenvalues": 2, "max_matvecs": 40, "trace_matvecs": 8}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with its weights and its data, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "version-1.h5").write_bytes(
        gzip.decompress((HERE / "version-1.h5.gz").read_bytes())
    )
    shutil.copy(HERE / "version-1.safetensors", tmp_path)
    y = np.arange(48) % 3
    x = ((np.arange(192).reshape(48, 4) * 7 % 11) / 8 + y[:, None]).astype("f4")
    np.savez("data.npz", x_train=x[:36], y_train=y[:36], x_test=x[36:], y_test=y[36:])
    return Path("version-1.h5")


def test_it_is_read_with_the_names_of_today(path: Path) -> None:
    run = Run.open(path)
    assert run.attributes["schema_version"] == 1
    with h5py.File(path) as file:
        products = file["samples/products"][()]
    np.testing.assert_array_equal(run["samples"]["matvecs"], products)
    np.testing.assert_array_equal(run.read("samples", "matvecs")["matvecs"], products)
    request = json.loads(str(run.attributes_of("samples")["request"]))
    assert (request["max_matvecs"], request["trace_matvecs"]) == (40, 8)
    assert not {"max_products", "trace_products"} & set(request)
    assert run.config["parameters"] == "all"
    assert "random" not in run.config
    assert run.config["measurement"]["max_matvecs"] == 40
    assert run.to_xarray()["samples"]["matvecs"].dims == ("sample",)
    summary = summarise(run)
    assert summary.lambda_1 is not None
    assert (summary.samples, summary.lambda_1.count, summary.surfaces) == (2, 3, ("random",))


def test_it_is_shown_and_exported(path: Path, tmp_path: Path) -> None:
    written, faults = exports.write_csv(Run.open(path), tmp_path / "csv")
    assert faults == []
    tables = {Path(name).name: Path(name).read_text() for name in written}
    traces = Run.open(path)["samples"]["trace"]
    assert len(tables["trace-version-1.csv"].splitlines()) == 2 + len(traces)  # names, mean
    assert len(tables["surface-random-version-1.csv"].splitlines()) > 9
    exports.write_run_html(Run.open(path), tmp_path / "run.html")
    assert "trace (nat)" in (tmp_path / "run.html").read_text()
    shown = flattened(Run.open(path).config)
    assert (shown["parameters"], shown["measurement.trace_matvecs"]) == ("all", 8)


def test_what_it_holds_is_taken_over_and_more_is_added(path: Path) -> None:
    before = Run.open(path)
    seconds = before["samples"]["seconds"]
    rows = before["surfaces/random"]["loss"]
    trained = workflow.load(path, device="cpu")
    seen: list[tuple[str, int]] = []
    workflow.measure_curvature(
        trained, samples=4, **SETTINGS, progress=lambda done, *_: seen.append(("sample", done))
    )
    assert seen == [("sample", 4)]
    workflow.measure_surface(
        trained,
        plane="random",
        shape=(3, 3),
        samples=3,
        progress=lambda done, _: seen.append(("row", done)),
    )
    workflow.measure_line(
        trained,
        kind="bezier",
        points=3,
        steps=5,
        samples=3,
        progress=lambda done, _: seen.append(("point", done)),
    )
    assert seen == [("sample", 4)]
    now = Run.open(path)
    assert now.attributes["schema_version"] == schema.VERSION == 2
    np.testing.assert_array_equal(now["samples"]["seconds"][:3], seconds)
    np.testing.assert_array_equal(now["surfaces/random"]["loss"], rows)
    assert "fingerprints" in json.loads(str(now.attributes_of("samples")["request"]))
    with h5py.File(path) as file:
        assert "products" not in file["samples"]
        assert len(file["samples/matvecs"]) == 4
        assert "random" not in json.loads(file.attrs["config"])
    again = workflow.load(path, device="cpu")
    workflow.measure_curvature(
        again, samples=4, **SETTINGS, progress=lambda done, *_: seen.append(("sample", done))
    )
    assert seen == [("sample", 4)]


def test_other_settings_are_refused_by_the_names_of_today(path: Path) -> None:
    trained = workflow.load(path, device="cpu")
    with pytest.raises(InputError, match="max_matvecs was 40 there and is 41 now"):
        workflow.measure_curvature(trained, samples=3, **{**SETTINGS, "max_matvecs": 41})


def test_what_may_be_another_posterior_s_is_measured_anew_and_that_is_said(path: Path) -> None:
    trained = workflow.load(path, device="cpu")
    run, network = trained.run, trained.posterior.network()
    other = isotropic(network, 0.1, mean=trained.posterior.mean)
    data = trained.task.train
    for write in (
        lambda: measure(other, data, samples=3, **SETTINGS, store=run),
        lambda: surface(other, data, plane="random", shape=(3, 3), samples=3, store=run),
        lambda: line(other, data, kind="bezier", points=3, steps=5, store=run),
    ):
        with pytest.warns(LandscapeWarning, match="does not say of which weights and data"):
            write()
    fresh = measure(other, data, samples=3, **SETTINGS)
    np.testing.assert_array_equal(run["samples"]["eigenvalues"], fresh.eigenvalues)
    with pytest.raises(InputError, match="other settings \\(another posterior\\): --fresh"):
        workflow.measure_curvature(trained, samples=3, **SETTINGS)


def test_data_that_a_run_does_not_vouch_for_are_not_taken_for_its_own(path: Path) -> None:
    trained = workflow.load(path, device="cpu")
    trained.run.set_attributes(data_fingerprint="0" * 64)
    with pytest.warns(LandscapeWarning, match="measured anew"):
        workflow.measure_curvature(trained, samples=3, **SETTINGS)


def test_its_weights_are_read(path: Path) -> None:
    assert posteriors.describe(path.with_suffix(".safetensors"))["method"] == "swag"
