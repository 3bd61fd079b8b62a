"""Files that may come from anybody: one line, and nothing outside the file is read."""

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape.errors import InputError
from landscape.store import Run, schema, summarise, untrusted
from landscape.store.summary import unfinished


def spoil(run: Run, change: Callable[[h5py.File], object]) -> Path:
    with h5py.File(run.path, "r+") as file:
        change(file)
    return run.path


def _soft(file: h5py.File) -> None:
    file["samples/stolen"] = h5py.SoftLink("/training/epoch")


def _external(file: h5py.File) -> None:
    file["samples/stolen"] = h5py.ExternalLink("/etc/hostname", "/")


def _external_group(file: h5py.File) -> None:
    file["surfaces/stolen"] = h5py.ExternalLink("other.h5", "/surfaces/samples")


def _outside(file: h5py.File) -> None:
    del file["samples/trace"]
    file["samples"].create_dataset("trace", (3,), "f8", external=[("/etc/passwd", 0, 24)])


def _virtual(file: h5py.File) -> None:
    del file["samples/trace"]
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "trace", (3,))
    file["samples"].create_virtual_dataset("trace", layout)


def _objects(file: h5py.File) -> None:
    file["samples"].create_dataset("names", data=["a", "b"], dtype=h5py.string_dtype())


def _filter(file: h5py.File) -> None:
    file["samples"].create_dataset("packed", data=np.arange(100), chunks=True, compression="lzf")


def _bomb(file: h5py.File) -> None:
    file["samples"].create_dataset("bomb", (1 << 34,), "f8", chunks=(1 << 16,), compression="gzip")


def _chunk(file: h5py.File) -> None:
    # One number, in a chunk that is unpacked whole.
    file["samples"].create_dataset(
        "bomb", (1,), "f8", maxshape=(None,), chunks=(1 << 28,), compression="gzip"
    )


def _altogether(file: h5py.File) -> None:
    for index in range(3):
        file["samples"].create_dataset(f"bomb{index}", (1 << 26,), "f8", chunks=(1 << 16,))


def _name(file: h5py.File) -> None:
    file["samples/two\nlines"] = h5py.SoftLink("/training/epoch")


def _deep(file: h5py.File) -> None:
    file.create_group("/a/b/c/d/e/f")


def _many(file: h5py.File) -> None:
    for index in range(10_001):
        file.create_group(f"surfaces/{index}")


def _newer(file: h5py.File) -> None:
    file.attrs["schema_version"] = 99


def _no_number(file: h5py.File) -> None:
    file.attrs["schema_version"] = "one"


def _foreign(file: h5py.File) -> None:
    del file.attrs["schema_name"]


def _attribute(file: h5py.File) -> None:
    file["samples"].attrs["reference"] = file.ref


def _large_attribute(file: h5py.File) -> None:
    samples = h5py.Group(file["samples"].id)
    samples.attrs["text"] = np.bytes_(b"x" * ((1 << 24) + 1))


SPOILED = {
    _attribute: "attribute 'reference' of type",
    _large_attribute: "attributes larger than 1 MiB",
    _soft: "soft or external link",
    _external: "soft or external link",
    _external_group: "soft or external link",
    _outside: "outside the file",
    _virtual: "outside the file",
    _objects: "not a number",
    _filter: "uses filter",
    _bomb: "larger than",
    _chunk: "larger than",
    _altogether: "larger than",
    _name: "soft or external link",
    _deep: "nested deeper",
    _many: "more than",
    _newer: "newer than 2.*upgrade",
    _no_number: "schema_version",
    _foreign: "not a run of this package",
}


@pytest.mark.parametrize("change", SPOILED, ids=lambda change: change.__name__.strip("_"))
def test_what_no_run_of_ours_holds_is_refused(run: Run, change: Callable[..., None]) -> None:
    path = spoil(run, change)
    for read in (Run.open, lambda path: run["samples"], lambda path: run.to_xarray()):
        with pytest.raises(InputError, match=SPOILED[change]) as found:
            read(path)
        assert str(path) in str(found.value)
        assert "\n" not in str(found.value)


def test_axes_that_do_not_fit_are_refused_when_read(run: Run) -> None:
    def reshape(file: h5py.File) -> None:
        del file["samples/trace"]
        file["samples/trace"] = np.zeros((2, 2))

    spoil(run, reshape)
    with pytest.raises(InputError, match="group 'samples' is damaged"):
        run["samples"]
    assert summarise_or_error(run.path) == "error"


def test_a_group_in_a_variables_place_is_refused(run: Run) -> None:
    def replace(file: h5py.File) -> None:
        del file["samples/trace"]
        file.create_group("samples/trace")

    spoil(run, replace)
    with pytest.raises(InputError, match="damaged"):
        run["samples"]


def test_files_that_are_no_hdf5(tmp_path: Path) -> None:
    for name, contents in (("empty", b""), ("text", b"hello"), ("head", b"\x89HDF\r\n\x1a\n")):
        path = tmp_path / f"{name}.h5"
        path.write_bytes(contents)
        with pytest.raises(InputError, match=name):
            Run.open(path)
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(InputError, match="not a regular file"):
        Run.open(tmp_path / "pipe.h5")
    with pytest.raises(InputError, match="is a folder"):
        Run.open(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        Run.open(tmp_path / "missing.h5")


def test_a_configuration_that_is_no_json_object_is_said_to_be_none(run: Run) -> None:
    for text in ("{", "[1]", "[" * 100_000):
        spoil(run, lambda file, text=text: file.attrs.modify("config", text))
        with pytest.raises(InputError, match="the attribute 'config' is not"):
            Run.open(run.path).config  # noqa: B018


def summarise_or_error(path: Path) -> str:
    """Everything a page does with a file; whatever is wrong must come back as ``InputError``."""
    try:
        run = Run.open(path)
        for group in run.groups:
            run[group]
        summarise(run)
    except InputError:
        return "error"
    return "read"


@pytest.mark.parametrize("share", np.linspace(0.02, 0.98, 25).round(2))
def test_a_truncated_file_is_refused(run: Run, share: float) -> None:
    contents = run.path.read_bytes()
    run.path.write_bytes(contents[: int(share * len(contents))])
    assert summarise_or_error(run.path) == "error"


def test_flipped_bytes_are_refused_or_do_no_harm(run: Run) -> None:
    contents = run.path.read_bytes()
    truth = {name: dict(run[name]) for name in run.groups}
    generator = np.random.default_rng(0)
    outcomes = []
    for offset in generator.integers(0, len(contents), 300):
        spoiled = bytearray(contents)
        spoiled[offset] ^= int(generator.integers(1, 256))
        run.path.write_bytes(spoiled)
        outcomes.append(summarise_or_error(run.path))
        if outcomes[-1] == "read":
            # A check sum guards the data, so what can be read is right.
            found = Run.open(run.path)
            for name in set(found.groups) & set(truth):
                for variable, values in found[name].items():
                    if values.size and variable in truth[name]:
                        np.testing.assert_array_equal(values, truth[name][variable])
    assert "error" in outcomes


@pytest.mark.parametrize("keeps_times", [False, True])
def test_a_file_that_was_sound_is_checked_again_once_it_changes(
    run: Run, keeps_times: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landscape.store.untrusted._SETTLED", 0)
    checks = []
    check = untrusted._check_size
    monkeypatch.setattr(
        "landscape.store.untrusted._check_size", lambda *given: checks.append(check(*given))
    )
    for _ in range(3):
        summarise(Run.open(run.path))
    assert len(checks) == 1
    before = run.path.stat()
    spoil(run, _soft)
    if keeps_times:  # as somebody may pretend
        os.utime(run.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert run.path.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(InputError, match="soft or external link"):
        Run.open(run.path)


def test_a_file_is_not_trusted_while_it_may_still_change_within_a_tick(run: Run) -> None:
    before = set(untrusted._sound)
    now = time.time_ns()
    state = (0, 0, 0, now, now)
    untrusted._remember(state, now + 10_000_000)
    assert untrusted._sound == before
    untrusted._remember(state, now + 100_000_000)
    assert untrusted._sound - before == {state}
    untrusted._sound.remove(state)


def test_a_file_that_changes_while_it_is_checked_is_checked_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = []

    def slow(*arguments: object) -> None:
        checks.append(arguments)
        time.sleep(0.2)

    monkeypatch.setattr("landscape.store.untrusted._check_size", slow)
    run.set_attributes(status="complete")
    before = len(checks)
    Run.open(run.path)  # begins within a tick of the write, and ends long after it
    Run.open(run.path)
    Run.open(run.path)
    assert len(checks) - before == 2


WRONG: dict[str, tuple[object, ...]] = {
    "seed": (np.nan, np.inf, 2.5, 1e30, np.uint64(2**64 - 1), "three"),
    "parameter_count": (1e308, "many"),
    "status": (np.nan, 1, "finished"),
    "created_at": (np.nan,),
    "posterior_file": (np.nan,),
    "training_seconds": ("long",),
    "config": (1, "{", "null", "[1]", '{"a": ' * 100 + "1" + "}" * 100, '{"a": "\\ud800"}'),
    "task_sizes": ("[" * 100_000,),
    "classes": ("[" * 70 + "]" * 70,),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_attribute_of_another_kind_is_named(run: Run, name: str) -> None:
    contents = run.path.read_bytes()
    for value in WRONG[name]:
        run.path.write_bytes(contents)
        spoil(run, lambda file, value=value: file.attrs.__setitem__(name, value))
        with pytest.raises(InputError, match=f"the attribute '{name}' is ") as found:
            Run.open(run.path)
        assert str(run.path) in str(found.value)
        assert len(str(found.value)) < 1000


def test_what_a_file_does_not_say_is_not_asked_for(run: Run) -> None:
    def forget(file: h5py.File) -> None:
        for name in set(file.attrs) - {"schema_name", "schema_version"}:
            del file.attrs[name]

    spoil(run, forget)
    found = summarise(Run.open(run.path))
    assert (found.seed, found.status, found.method) == (None, "", "")


def test_counts_that_are_none_are_not_taken_for_such(run: Run) -> None:
    for value in (np.nan, np.inf, -1, 1e300, "many"):
        run.write("samples", {"trace": [1.0]}, {"requested": value})
        run.write("predictions", {"nll": [1.0]}, {"samples": value, "accuracy": "high"})
        opened = Run.open(run.path)
        assert unfinished(opened) == []
        assert summarise(opened).samples == 1
        assert summarise(opened).accuracy is None


def test_a_variable_that_is_not_read_fits_those_that_are(run: Run) -> None:
    def lengthen(file: h5py.File) -> None:
        del file["samples/trace"]
        file["samples/trace"] = np.zeros(5)

    spoil(run, lengthen)
    with pytest.raises(InputError, match="5 along 'sample' where the group has 3"):
        run.read("samples", "eigenvalues")
    assert "train_loss" in run.read("training", "train_loss")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("samples/residuals", -1.0, "0 or more"),
        ("samples/converged", 2, "between 0 and 1"),
        ("density/density", -1e308, "0 or more"),
        ("density/grid", np.nan, "not finite"),
        ("surfaces/samples/x", np.inf, "not finite"),
        ("surfaces/samples/accuracy", 1.5, "between 0 and 1"),
        ("predictions/log_probabilities", 0.5, "0 or less"),
        ("predictions/labels", -1, "0 or more"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(
    run: Run, path: str, value: float, words: str
) -> None:
    def put(file: h5py.File) -> None:
        file[path][...] = value

    spoil(run, put)
    group, _, name = path.rpartition("/")
    with pytest.raises(InputError, match=f"group '{group}' is damaged: {path} holds .*{words}"):
        run.read(group, name)


def test_numbers_that_are_not_defined_are_read(run: Run) -> None:
    def put(file: h5py.File) -> None:
        file["samples/residuals"][...] = np.nan
        file["samples/eigenvalues"][...] = np.inf

    spoil(run, put)
    assert np.isnan(run["samples"]["residuals"]).all()
    assert np.isinf(run["samples"]["eigenvalues"]).all()


def test_a_heap_of_texts_that_would_hold_hdf5_for_ever_is_refused(run: Run) -> None:
    contents = bytearray(run.path.read_bytes())
    start = contents.index(b"GCOL")
    (size,) = struct.unpack_from("<Q", contents, start + 8)
    at = start + 16
    while struct.unpack_from("<H", contents, at)[0]:  # up to the entry of what is free
        at += 16 + -(-struct.unpack_from("<Q", contents, at + 8)[0] // 8) * 8
    assert at + struct.unpack_from("<Q", contents, at + 8)[0] == start + size
    struct.pack_into("<Q", contents, at + 8, 0)
    run.path.write_bytes(contents)
    with pytest.raises(InputError, match="a text in it has no end"):
        Run.open(run.path)


def test_an_error_is_one_line_whatever_it_is_made_of(run: Run) -> None:
    assert str(InputError("a\nb\x1b[2J\u2028é")) == r"a\nb\x1b[2J\u2028é"
    with pytest.raises(InputError, match=r"no group 'two\\nlines'"):
        schema.fields("two\nlines")
