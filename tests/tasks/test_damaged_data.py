"""Untrusted data files: sizes are checked first, no code runs, and errors are one line."""

from __future__ import annotations

import os
import pickle
import struct
import time
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landscape import tasks
from landscape.errors import InputError
from landscape.tasks.images import decode
from landscape.tasks.jpegs import Jpegs
from landscape.tasks.own_data import read_npz
from landscape.tasks.pickles import unpickle

DEEP = 300_000
TUPLE = b")" + b"\x85" * DEEP  # a tuple in a tuple in a tuple ...
PICKLES = {
    "list": b"\x80\x02" + b"]" * DEEP + b"a" * (DEEP - 1) + b".",
    "tuple": b"\x80\x02" + TUPLE + b".",
    "key": b"\x80\x02}" + TUPLE + b"K\x01s.",
    "dictionary": b"\x80\x02" + b"}U\x01a" * DEEP + b"}" + b"s" * DEEP + b".",
    "data": b"\x80\x02}U\x04data" + TUPLE + b"s.",
    "labels": b"\x80\x02}U\x06labels" + b"]" * DEEP + b"a" * (DEEP - 1) + b"s.",
    "itself": b"\x80\x02]q\x00h\x00a.",
    "nothing to pop": b"\x80\x02a.",
    "no mark": b"\x80\x02t.",
    "no memo": b"\x80\x02h\x05.",
    "half": b"\x80\x02}U\x09",
    "long": b"\x80\x04\x96" + b"\xff" * 8 + b".",
    "persistent": b"\x80\x02K\x01Q.",
    "made": b"\x80\x02}U\x01acnumpy\nndarray\nK\x05\x85Rs.",
    "filled": b"\x80\x02}U\x01acnumpy\nndarray\n}bs.",
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_of_any_shape_is_read_or_refused(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / "train", tmp_path / "test"):
        path.write_bytes(PICKLES[name])
    with pytest.raises(InputError, match="train"):
        tasks.cifar100(str(tmp_path))


def _array(shape: tuple[object, ...], kind: str, contents: object) -> bytes:
    """The pickle of a dictionary with an array of a stated shape, type and contents."""
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n"
    empty = b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    state = b"(K\x01" + pickle.dumps(shape, 2)[2:-1]
    state += b"cnumpy\ndtype\nU" + bytes([len(kind)]) + kind.encode() + b"K\x00K\x01\x87R"
    state += b"\x89" + pickle.dumps(contents, 4)[2:-1].replace(b"\x94", b"") + b"t"
    return b"\x80\x02}U\x04data" + reconstruct + empty + state + b"bs."


def test_arrays_are_made_of_as_many_bytes_as_they_say(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_bytes(_array((2, 3), "|u1", "abcdef"))
    np.testing.assert_array_equal(unpickle(path)["data"], [[97, 98, 99], [100, 101, 102]])
    for shape, kind, contents, message in (
        ((10**12,), "|u1", "abc", "does not have 3 bytes"),
        ((2, -3), "|u1", "abcdef", "damaged"),
        ((True, 6), "|u1", "abcdef", "damaged"),
        ((1,), "|O8", "abcdefgh", "does not consist of numbers"),
        ((1,), "|V8", "abcdefgh", "does not consist of numbers"),
        ((1,), "|u1", 5, "damaged"),
    ):
        path.write_bytes(_array(shape, kind, contents))
        with pytest.raises(InputError, match=f"cannot read .*{message}"):
            unpickle(path)


def _arrays(save: Callable[..., None] = np.savez, **more: np.ndarray) -> bytes:
    stream = BytesIO()
    inputs = np.random.default_rng(0).normal(size=(8, 3))
    labels = np.arange(8) % 2
    save(
        stream, **{"x_train": inputs, "y_train": labels, "x_test": inputs, "y_test": labels} | more
    )
    return stream.getvalue()


def _encrypted() -> bytes:
    contents = bytearray(_arrays())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = contents.find(signature)
        while at >= 0:
            (flags,) = struct.unpack_from("<H", contents, at + offset)
            struct.pack_into("<H", contents, at + offset, flags | 1)
            at = contents.find(signature, at + 1)
    return bytes(contents)


def _packed(method: int) -> bytes:
    contents = bytearray(_arrays())
    at = contents.find(b"PK\x01\x02")
    struct.pack_into("<H", contents, at + 10, method)
    return bytes(contents)


def _member(name: str, contents: bytes) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, contents)
    return stream.getvalue()


def _header(shape: str) -> bytes:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "encrypted": (_encrypted, "password"),
    "unknown packing": (lambda: _packed(99), "compression"),
    "objects": (lambda: _arrays(x_train=np.array([{}, []], dtype=object)), "allow_pickle=False"),
    "bomb": (
        lambda: _arrays(np.savez_compressed, x_train=np.zeros((1 << 13, 1 << 13))),
        "would unpack to .*numpy.savez",
    ),
    "large shape": (lambda: _member("x_train.npy", _header("(1000000000000,)")), "cannot read"),
    "negative shape": (lambda: _member("x_train.npy", _header("(-5,)")), "cannot read"),
    "no shape": (lambda: _member("x_train.npy", _header("(" * 5000)), "cannot read"),
    "text": (lambda: _member("x_train.txt", b"hello"), "is not an array"),
    "nothing": (lambda: b"", "cannot read"),
}


@pytest.mark.parametrize("name", FILES)
def test_an_archive_that_is_none_of_arrays_is_refused(name: str, tmp_path: Path) -> None:
    make, message = FILES[name]
    path = tmp_path / "arrays.npz"
    path.write_bytes(make())
    begun = time.process_time()
    with pytest.raises(InputError, match=message) as found:
        tasks.npz(str(path))
    assert time.process_time() - begun < 2
    assert str(path) in str(found.value)


def test_images_that_compress_well_are_read(tmp_path: Path) -> None:
    digits = np.zeros((3000, 28, 28))
    digits[:, 5:23, 8:20] = np.random.default_rng(0).integers(0, 256, (3000, 18, 12)) / 255
    np.savez_compressed(tmp_path / "digits.npz", x=digits)
    assert read_npz(tmp_path / "digits.npz")["x"].shape == digits.shape


@pytest.mark.parametrize("classes", [np.array("one"), np.zeros((2, 2))])
def test_names_of_classes_are_a_list(classes: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(_arrays(classes=classes))
    with pytest.raises(InputError, match="'classes' must be a list of the classes' names"):
        tasks.npz(str(tmp_path / "a.npz"))


def test_jpegs_of_lengths_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    stream = np.zeros(8, np.uint8)
    for lengths in (
        np.array([2.0, 6.0]),
        np.array([2**63, 2**63 + 8], dtype=np.uint64),
        np.array([[4, 4]]),
        np.array([-1, 9]),
        np.array(8),
    ):
        np.savez(tmp_path / "j.npz", jpeg=stream, length=lengths, y=np.zeros(lengths.shape, int))
        with pytest.raises(InputError, match="must hold the bytes of all files"):
            Jpegs.read(tmp_path / "j.npz", 8)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        for read in (read_npz, unpickle, lambda path: decode(path, "image", 8)):
            with pytest.raises(InputError, match=r"it is (not a regular file|a folder)"):
                read(path)
        with pytest.raises(InputError, match="it is"):
            tasks.regression(f"{path}")


def test_an_image_of_too_many_pixels_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    for side, message in ((8_000, "8,000 x 8,000 pixels, more than 50,000,000"), (20_000, "bomb")):
        Image.new("1", (side, side)).save(path)
        assert path.stat().st_size < 1 << 17
        with pytest.raises(InputError, match=message):
            decode(path, "large.png", 8)
    with pytest.raises(InputError, match="20,000 x 20,000 pixels are more than"):
        tasks.image_folder(str(tmp_path), size=20_000)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shots": "ten"}, "shots must be a whole number, not 'ten'"),
        ({"shots": True}, "shots must be a whole number, not True"),
        ({"seed": 2.0}, "seed must be a whole number, not 2.0"),
        ({"seed": 2**64}, "seed must be a whole number, not 18446744073709551616"),
        ({"seed": None}, "seed must be a whole number, not None"),
        ({"noise": float("nan")}, "noise must be a number, not nan"),
        ({"rotation": 10**400}, "rotation must be a number, not 1000"),
        ({"rotation": [1]}, r"rotation must be a number, not \[1\]"),
    ],
)
def test_settings_are_of_the_type_that_a_task_states(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=f"task 'digits': {message}"):
        tasks.load("digits", **settings)
    with pytest.raises(InputError, match="path must be text, not 5"):
        tasks.load("arrays", path=5)
    with pytest.raises(InputError, match="augment must be true or false, not 'yes'"):
        tasks.load("cifar10", path="a", augment="yes")
