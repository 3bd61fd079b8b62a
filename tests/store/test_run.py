"""Run files: what is written is read back, by this package and by others."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from groups import GROUPS

from landscape.errors import InputError
from landscape.store import Run, SampleMean, schema, summarise
from landscape.store.summary import unfinished


def test_every_group_is_read_back_as_written(run: Run) -> None:
    opened = Run.open(run.path)
    assert set(opened.groups) == set(GROUPS)
    for name, variables in GROUPS.items():
        group = opened[name]
        assert group.attributes == {"split": "train", "examples": 7}
        numbered = {"sample"} & set(schema.fields(name))  # numbered where nothing else is said
        assert set(group) == set(variables) | numbered
        for variable, values in variables.items():
            np.testing.assert_array_equal(group[variable], values)
    assert opened.attributes["status"] == "complete"
    assert opened.config == {"method": {"rank": 5}}
    assert json.loads(str(opened.attributes["versions"])).keys() >= {"torch", "numpy", "python"}


def test_some_variables_or_none_can_be_read(run: Run) -> None:
    assert set(run.read("samples", "trace", "loss")) == {"trace"}
    assert run.attributes_of("predictions")["split"] == "train"
    for read in (run.read, run.attributes_of, run.__getitem__):
        with pytest.raises(KeyError, match="surfaces/random"):
            read("surfaces/random")
    assert "surfaces/samples" in run
    assert "surfaces/random" not in run


def test_a_group_is_replaced_and_the_others_stay(run: Run) -> None:
    run.write("samples", {"trace": [1.0]})
    assert list(run["samples"]) == ["sample", "trace"]
    assert set(run.groups) == set(GROUPS)
    for name in set(GROUPS) - {"samples"}:
        for variable, values in GROUPS[name].items():
            np.testing.assert_array_equal(run[name][variable], values)


def test_xarray_opens_it_with_named_axes(run: Run) -> None:
    with xarray.open_datatree(run.path, engine="h5netcdf") as tree:
        assert tree["samples"]["eigenvalues"].dims == ("sample", "eigenvalue")
        assert tree["predictions"]["log_probabilities"].dims == ("sample", "example", "class")
        surface = tree["surfaces/samples"].to_dataset().load()
        xarray.testing.assert_identical(run.to_xarray(), tree.load())
    assert surface["loss"].dims == ("y", "x")
    np.testing.assert_allclose(surface["loss"].sel(y=2.0, x=-1.0), 15)
    assert surface["loss"].attrs["units"] == "nat"


def test_bare_hdf5_has_scales_filters_and_meanings(run: Run) -> None:
    with h5py.File(run.path) as file:
        loss = file["surfaces/samples/loss"]
        assert [loss.dims[axis][0].name for axis in (0, 1)] == [
            "/surfaces/samples/y",
            "/surfaces/samples/x",
        ]
        assert (loss.compression, loss.shuffle, loss.fletcher32) == ("gzip", True, True)
        assert loss.attrs["long_name"].startswith("mean loss")
        assert file.attrs["schema_name"] == "landscape-run"


def test_variables_without_an_entry_are_stored(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run.h5")
    run.write("samples", {"trace": [], "eigenvalues": np.empty((0, 5))})
    assert run["samples"]["eigenvalues"].shape == (0, 5)
    assert summarise(run).lambda_1 is None


def test_a_summary_says_what_there_is(run: Run) -> None:
    found = summarise(run)
    assert found.name == "run"
    assert (found.method, found.seed, found.status) == ("swag", 3, "complete")
    assert found.lambda_1 is not None
    assert found.trace is not None
    assert (found.lambda_1.mean, found.lambda_1.deviation) == (2, 2)
    assert str(found.trace) == "6 +- 1"
    assert found.surfaces == ("samples",)
    assert found.accuracy is None
    assert found.matrix == "hessian"


def test_a_summary_names_the_matrix_and_the_barrier_of_each_line(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run.h5")
    assert summarise(run).matrix is None
    run.write("samples", {"trace": [1.0]}, {"matrix": "gauss-newton"})
    for name, losses in {
        "bezier": [1.0, 4.0, 2.0],
        "chain": [1.0, np.nan, 2.0],
        "pca": [1, np.inf, 2],
    }.items():
        run.write(f"lines/{name}", {"loss": losses})
    run.write("lines/random", {"x": [0.0, 1.0]})
    found = summarise(run)
    assert found.matrix == "gauss-newton"
    barriers = {"bezier": 2, "chain": np.nan, "pca": np.inf, "random": np.nan}
    assert found.line_barriers == pytest.approx(barriers, nan_ok=True)


def test_a_summary_has_both_ratios_of_five_eigenvalues_and_n_of_its_own(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run.h5", method="swag")
    eigenvalues = [[8.0, 4, 3, 2, 2], [2.0, 2, 2, 2, 1], [np.nan] * 5]
    run.write("samples", {"eigenvalues": eigenvalues, "trace": [9.0, 5.0, 1.0]})
    found = summarise(run)
    assert found.lambda_ratio is not None
    assert found.lambda_ratio_of_means is not None
    assert found.trace is not None
    assert (found.lambda_ratio.mean, found.lambda_ratio.count) == (3.0, 2)
    assert found.lambda_ratio_of_means.mean == pytest.approx(10 / 3)
    assert (found.trace.count, found.trace.effective) == (3, 3)
    run.write("samples", {"eigenvalues": np.array(eigenvalues)[:, :4]})
    assert summarise(run).lambda_ratio is summarise(run).lambda_ratio_of_means is None


def test_a_summary_of_a_chain_knows_its_order_or_has_no_interval(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run.h5", method="sgld")
    walk = np.random.default_rng(0).normal(size=30).cumsum()
    order = np.random.default_rng(1).permutation(30)
    run.write("samples", {"trace": walk[order], "chain": [0] * 30, "place": order})
    found = summarise(run).trace
    assert found is not None
    assert found.effective < 10 < found.count == 30
    assert found.high - found.low > 2 * (SampleMean.of(walk).high - SampleMean.of(walk).low)
    run.write("samples", {"trace": walk[order]})  # as written before
    older = summarise(run).trace
    assert older is not None
    assert (older.mean, older.count) == (found.mean, 30)
    assert np.isnan([older.low, older.high, older.effective]).all()


def test_samples_are_counted_whatever_was_measured_of_them(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run.h5")
    run.write("samples", {"trace": [1.0, 2.0]})
    assert unfinished(run) == []
    run.write("samples", {"trace": [1.0, 2.0]}, {"requested": 3})
    assert unfinished(run) == ["2 of 3 samples"]


def test_a_summary_has_the_mean_of_each_measure_of_sharpness(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run.h5", method="swag")
    assert summarise(run).sharpness == {}
    values = [[1.0, 0.5], [3.0, np.nan]]
    run.write(
        "sharpness", {"value": values, "sample": [0, 1]}, {"measures": '["a", "b"]', "requested": 3}
    )
    found = summarise(run).sharpness
    assert list(found) == ["a", "b"]
    assert (found["a"].mean, found["a"].count) == (2, 2)
    assert (found["b"].mean, found["b"].count) == (0.5, 1)
    assert unfinished(run) == ["2 of 3 samples' sharpness"]
    np.testing.assert_array_equal(Run.open(run.path)["sharpness"]["value"], values)
    assert run.to_xarray()["sharpness"]["value"].dims == ("sample", "measure")
    for damaged in ("[", '{"a": 1}'):
        run.write("sharpness", {"value": values}, {"measures": damaged})
        with pytest.raises(InputError, match="the attribute 'measures' is no"):
            summarise(run)


def test_what_the_schema_does_not_allow_is_refused(run: Run, tmp_path: Path) -> None:
    for group, variables, message in (
        ("flatness", {}, "no group 'flatness'; it may hold training, samples"),
        ("surfaces/a/b", {}, "no group 'surfaces/a/b'"),
        ("surfaces/", {}, "no group"),
        ("samples", {"sharpness": [1.0]}, "no variable 'sharpness'"),
        ("samples", {"trace": 1.0}, "needs the axes"),
        ("samples", {"trace": ["high"]}, "samples/trace needs numbers, not <U4"),
        ("samples", {"trace": [[1.0], 2.0]}, "samples/trace is not an array of numbers"),
        ("predictions", {"labels": [0.5]}, "labels needs whole numbers"),
        ("samples", {"trace": [1.0], "loss": [1.0, 2.0]}, "2 along 'sample' where the group has 1"),
    ):
        with pytest.raises(InputError, match=message):
            run.write(group, variables)
    for path, attributes, message in (
        ("run.h5", {}, "exists"),
        ("run.hdf5", {}, "ends in .h5"),
        ("new.h5", {"author": "x"}, "no attribute 'author'"),
        ("new.h5", {"config": {"model": object()}}, "the attribute 'config' cannot be stored"),
        ("new.h5", {"schema_version": 2}, "not yours to set"),
    ):
        with pytest.raises(InputError, match=message):
            Run.create(tmp_path / path, **attributes)
    with pytest.raises(InputError, match="status is one of"):
        run.set_attributes(status="done")
    with pytest.raises(InputError, match="no attribute"):
        run.set_attributes(author="x")
    assert set(run.groups) == set(GROUPS)
    Run.create(run.path, overwrite=True)
    assert run.groups == ()


def test_the_documentation_names_everything_in_the_schema() -> None:
    text = (Path(__file__).parents[2] / "docs" / "file-format.md").read_text()
    surface = schema.fields("surfaces/any")
    for fields in (*schema.GROUPS.values(), surface):
        for name, field in fields.items():
            assert f"| `{name}` | {', '.join(field.dims)} |" in text, name
    for name in schema.ATTRIBUTES:
        assert f"`{name}`" in text, name


def test_a_summary_s_interval_is_student_s() -> None:
    # Student's table: t(4 degrees of freedom, 97.5 %) = 2.776.
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    spread = SampleMean.of(values)
    assert (spread.mean, spread.count) == (3, 5)
    assert spread.deviation == pytest.approx(np.sqrt(2.5))
    assert spread.low == pytest.approx(3 - 2.776 * np.sqrt(0.5), abs=1e-3)
    assert spread.high == pytest.approx(3 + 2.776 * np.sqrt(0.5), abs=1e-3)
    alone = SampleMean.of(values[:1])
    assert np.isnan([alone.deviation, alone.low, alone.high]).all()
    draws = np.random.default_rng(0).normal(size=(2000, 4))
    covered = [found.low <= 0 <= found.high for found in map(SampleMean.of, draws)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
