"""The pack format: round trips, atomic writing, and the errors of bad samples and damaged files."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from synthreal.data.encoding import from_unit, quantize, stored_array, stored_tensor, to_unit
from synthreal.data.ondisk import load
from synthreal.data.pack import Pack, PackOptions, read_pack
from synthreal.data.writer import PackWriter, write_pack
from synthreal.errors import UserError
from synthreal.spec import ImageSpec, LabelSpec, Sample, Skipped

LABELS = (
    LabelSpec("gaze", (3,), "unit vector"),
    LabelSpec("count", (), "number"),
    LabelSpec("mask", (5, 7), "class"),
    LabelSpec("visible", (2,), "yes or no"),
)


def images(n, spec, seed=0):
    rng = np.random.default_rng(seed)
    if spec.dtype == "float16":
        return rng.random((n, *spec.shape)).astype(np.float16)
    return rng.integers(0, np.iinfo(spec.dtype).max + 1, (n, *spec.shape)).astype(spec.dtype)


def labels(n, seed=1):
    rng = np.random.default_rng(seed)
    return {
        "gaze": rng.normal(size=(n, 3)),
        "count": rng.integers(-5, 5, n),
        "mask": rng.integers(0, 255, (n, 5, 7)).astype(np.uint8),
        "visible": rng.random((n, 2)) > 0.5,
    }


def samples(pixels, values=None):
    for i in range(len(pixels)):
        yield Sample(pixels[i], {name: array[i] for name, array in (values or {}).items()})


def leftovers(folder):
    return sorted(path.name for path in Path(folder).iterdir())


@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (2, "float16"), (3, "uint8"), (4, "uint16")])
def test_round_trip_carries_every_image_and_label(tmp_path, channels, dtype):
    spec = ImageSpec(channels=channels, height=5, width=7, dtype=dtype, meaning="noise", background=0.5, invalid=0.0)
    pixels, values = images(11, spec), labels(11)
    summary = write_pack(
        tmp_path / "a.h5",
        samples(pixels, values),
        image=spec,
        labels=LABELS,
        role="test",
        name="toy",
        options={"root": "x", "size": 3},
        versions={"synthreal": "1.2"},
    )
    assert (summary.n, summary.skipped, summary.path) == (11, (), tmp_path / "a.h5")
    pack = Pack(tmp_path / "a.h5")
    assert (len(pack), pack.image, pack.labels, pack.role, pack.name) == (11, spec, LABELS, "test", "toy")
    assert (pack.options, pack.header.versions) == ({"root": "x", "size": 3}, {"synthreal": "1.2"})
    read, carried = pack.read(slice(None))
    assert read.dtype == pixels.dtype
    np.testing.assert_array_equal(read, pixels)
    assert set(carried) == set(values)
    for name in values:
        assert carried[name].dtype == values[name].dtype
        np.testing.assert_array_equal(carried[name], values[name])
    assert leftovers(tmp_path) == ["a.h5"]


def test_blocks_of_any_size_give_the_same_pack(tmp_path):
    spec = ImageSpec(channels=3, height=200, width=301)  # 5 images a chunk
    pixels = images(13, spec)
    seen = []
    write_pack(tmp_path / "a.h5", samples(pixels), image=spec, role="real", name="toy", progress=seen.append)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["image"].chunks == (5, 3, 200, 301)
    assert seen == [5, 10, 13]
    with PackWriter(tmp_path / "b.h5", image=spec, role="real", name="toy") as writer:
        for start, stop in ((0, 1), (1, 9), (9, 9), (9, 13)):
            writer.append(pixels[start:stop])
    assert writer.summary().n == 13
    for name in ("a.h5", "b.h5"):
        np.testing.assert_array_equal(Pack(tmp_path / name).read(slice(None))[0], pixels)
    assert Pack(tmp_path / "a.h5").sha256() == Pack(tmp_path / "b.h5").sha256()


def test_read_by_slice_and_by_index(tmp_path):
    spec = ImageSpec(channels=1, height=3, width=3, dtype="uint16")
    pixels, values = images(40, spec), labels(40)
    write_pack(tmp_path / "a.h5", samples(pixels, values), image=spec, labels=LABELS, role="simulated", name="toy")
    pack = Pack(tmp_path / "a.h5")
    for which in (slice(3, 17), slice(30, 99), np.array([0, 1, 2, 9, 10, 39]), np.array([5]), np.array([], int)):
        read, carried = pack.read(which)
        np.testing.assert_array_equal(read, pixels[which])
        np.testing.assert_array_equal(carried["gaze"], values["gaze"][which])
    assert set(pack.read(slice(0, 2), ("gaze",))[1]) == {"gaze"}
    for wrong in ([3, 2], [2, 2], [-1, 2], [39, 40]):
        with pytest.raises(IndexError, match="strictly increasing"):
            pack.read(np.array(wrong))
    copies = list(read_pack(PackOptions(path=str(tmp_path / "a.h5"))))
    np.testing.assert_array_equal(np.stack([copy.image for copy in copies]), pixels)
    np.testing.assert_array_equal(np.stack([copy.labels["mask"] for copy in copies]), values["mask"])


def test_real_packs_hold_no_label_arrays(tmp_path):
    spec = ImageSpec(channels=1, height=4, width=4)
    write_pack(tmp_path / "a.h5", samples(images(6, spec), labels(6)), image=spec, labels=LABELS, role="real", name="t")
    with PackWriter(tmp_path / "b.h5", image=spec, labels=LABELS, role="real", name="t") as writer:
        writer.append(images(6, spec), labels(6))
    for name in ("a.h5", "b.h5"):
        with h5py.File(tmp_path / name) as file:
            assert list(file) == ["header", "image"]
        pack = Pack(tmp_path / name)
        assert (pack.labels, pack.read(slice(None))[1]) == ((), {})


def test_skipped_and_limit_are_recorded(tmp_path):
    spec = ImageSpec(channels=1, height=2, width=2)
    gone = [Skipped(f"folder/{i}.png", "truncated " + "x" * 100) for i in range(2000)]  # far over HDF5's 64 KiB header
    summary = write_pack(
        tmp_path / "a.h5", [*gone, *samples(images(9, spec))], image=spec, role="real", name="toy", limit=4
    )
    pack = Pack(tmp_path / "a.h5")
    assert (summary.n, len(pack), pack.header.limit) == (4, 4, 4)
    assert pack.skipped == summary.skipped == tuple(gone)


@pytest.mark.parametrize(
    "error", [RuntimeError("reader broke"), PermissionError("not mine"), KeyboardInterrupt(), UserError("bad input")]
)
def test_an_exception_midway_leaves_nothing(tmp_path, error):
    spec = ImageSpec(channels=3, height=200, width=301)

    def broken():
        yield from samples(images(12, spec))
        assert leftovers(tmp_path) != []  # blocks have reached the disk by now
        raise error

    with pytest.raises(type(error)):
        write_pack(tmp_path / "a.h5", broken(), image=spec, role="real", name="toy")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError("HDF5 broke"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["File", "File.create_dataset"])
def test_an_exception_while_the_file_is_opened_leaves_nothing(tmp_path, monkeypatch, error, step):
    def broken(*arguments, **more):
        assert leftovers(tmp_path) != []  # the temporary file is there by now
        raise error

    monkeypatch.setattr(f"h5py.{step}", broken)
    spec = ImageSpec(channels=1, height=2, width=2)
    with pytest.raises(type(error)):
        write_pack(tmp_path / "a.h5", samples(images(3, spec)), image=spec, role="real", name="toy")
    assert leftovers(tmp_path) == []


def test_a_failing_rename_leaves_nothing(tmp_path, monkeypatch):
    spec = ImageSpec(channels=1, height=2, width=2)

    def refuse(self, target):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(UserError, match=r"a\.h5: cannot write \(Read-only file system\)"):
        write_pack(tmp_path / "a.h5", samples(images(3, spec)), image=spec, role="real", name="toy")
    assert leftovers(tmp_path) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    """A file-size limit makes the kernel refuse writes half-way, as a full disk does."""
    code = """
        import resource, sys
        import numpy as np
        from synthreal.data.writer import write_pack
        from synthreal.errors import UserError
        from synthreal.spec import ImageSpec, Sample
        spec = ImageSpec(channels=3, height=200, width=301)
        given = []

        def samples():
            for index in range(60):
                given.append(index)
                yield Sample(np.zeros(spec.shape, np.uint8))

        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
        try:
            write_pack(sys.argv[1], samples(), image=spec, role="real", name="toy")
        except UserError as error:
            print(error)
            assert given[-1] < 40, "it went on reading after the disk was full"
            sys.exit(2)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "a.h5")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stdout.count("\n") == 1
    assert "a.h5: cannot write" in done.stdout
    assert leftovers(tmp_path) == []


def test_a_missing_folder_is_refused(tmp_path):
    spec = ImageSpec(channels=1, height=2, width=2)
    (tmp_path / "file").write_text("not a folder")
    for path in (tmp_path / "file" / "a.h5", tmp_path / "missing" / "a.h5"):
        with pytest.raises(UserError, match="is not a folder"):
            write_pack(path, samples(images(3, spec)), image=spec, role="real", name="toy")
    assert leftovers(tmp_path) == ["file"]


def test_an_existing_file_is_refused_unless_overwritten(tmp_path):
    spec = ImageSpec(channels=1, height=2, width=2)
    path = tmp_path / "a.h5"
    write_pack(path, samples(images(3, spec)), image=spec, role="real", name="toy")
    before = path.read_bytes()
    with pytest.raises(UserError, match="already exists; delete it"):
        write_pack(path, samples(images(4, spec)), image=spec, role="real", name="toy")
    with pytest.raises(UserError, match="no image to write"):
        write_pack(path, [], image=spec, role="real", name="toy", overwrite=True)
    assert path.read_bytes() == before
    write_pack(path, samples(images(4, spec)), image=spec, role="real", name="toy", overwrite=True)
    assert len(Pack(path)) == 4


def test_an_empty_data_set_names_the_first_reason(tmp_path):
    spec = ImageSpec(channels=1, height=2, width=2)
    with pytest.raises(UserError, match=r"no image to write .* all 2 were unreadable, first x\.png: truncated"):
        write_pack(
            tmp_path / "a.h5",
            [Skipped("x.png", "truncated"), Skipped("y.png", "empty")],
            image=spec,
            role="real",
            name="toy",
        )
    with pytest.raises(UserError, match="limit is 0"):
        write_pack(tmp_path / "a.h5", samples(images(3, spec)), image=spec, role="real", name="toy", limit=0)
    assert leftovers(tmp_path) == []


def _with(name, index, value):
    def change(pixels, values):
        array = (pixels if name == "image" else values[name]).copy()
        array[index] = value
        return (array, values) if name == "image" else (pixels, {**values, name: array})

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_with("image", (7, 0, 1, 1), np.nan), "image 7: a pixel is NaN"),
        (_with("image", (2, 0, 0, 0), np.inf), "image 2: a pixel is NaN, infinite"),
        (_with("image", (4, 0, 0, 0), 1.5), r"image 4: a pixel .* outside \[0, 1\]"),
        (_with("gaze", (5, 1), np.nan), "image 5: label 'gaze' is NaN"),
        (_with("gaze", (8, 0), -np.inf), "image 8: label 'gaze' is NaN or infinite"),
        (_with("gaze", (3, 0), np.finfo(np.float64).max), "image 3: label 'gaze' is NaN or infinite in float32"),
        (lambda p, v: (p[:, :, :, :3], v), "image 0: it is 1x4x3 float16, not 1x4x4 float16"),
        (lambda p, v: (p.astype(np.float32), v), "image 0: it is 1x4x4 float32"),
        (lambda p, v: (p, {k: v[k] for k in ("gaze", "count", "mask")}), "image 0: it has labels .*, not .*visible"),
        (lambda p, v: (p, {**v, "extra": v["count"]}), "image 0: it has labels .*extra"),
        (lambda p, v: (p, {**v, "gaze": v["gaze"][:, :2]}), r"image 0: label 'gaze' has shape \(2,\), not \(3,\)"),
        (lambda p, v: (p, {**v, "count": v["count"].astype(str)}), "image 0: label 'count' is <U"),
    ],
)
def test_images_and_labels_that_contradict_the_specs_are_refused(tmp_path, change, message):
    spec = ImageSpec(channels=1, height=4, width=4, dtype="float16")
    pixels, values = change(images(9, spec), labels(9))
    header = {"image": spec, "labels": LABELS, "role": "test", "name": "toy"}
    with pytest.raises(UserError, match=message), PackWriter(tmp_path / "a.h5", **header) as writer:
        writer.append(pixels, values)
    with pytest.raises(UserError, match=message):
        write_pack(tmp_path / "a.h5", samples(pixels, values), **header)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("sample", [(np.zeros((1, 5, 7), np.uint8), {}), None, Sample(np.zeros((1, 5, 7)), [1])])
def test_a_reader_that_yields_something_else_is_refused(tmp_path, sample):
    spec = ImageSpec(channels=1, height=5, width=7)
    with pytest.raises(UserError, match=f"data set 'odd'.*{type(sample).__name__}"):
        write_pack(tmp_path / "odd.h5", [sample], image=spec, role="real", name="odd")
    assert leftovers(tmp_path) == []


def test_a_label_with_two_dtypes_is_refused(tmp_path):
    spec = ImageSpec(channels=1, height=2, width=2)
    mixed = [Sample(image, {"a": np.asarray(value)}) for image, value in zip(images(2, spec), (1, 2.5), strict=True)]
    with pytest.raises(UserError, match="image 1: label 'a' is float64 here and int64 before"):
        write_pack(
            tmp_path / "a.h5", mixed, image=spec, labels=(LabelSpec("a", (), "number"),), role="test", name="toy"
        )


@pytest.mark.parametrize("dtype", [">i2", ">i4", ">u4", ">f8"])
def test_labels_of_another_byte_order_are_read_with_their_values(tmp_path, dtype):
    spec, values = ImageSpec(channels=1, height=2, width=2), np.array([1, 2, 300]).astype(dtype)
    header = {"image": spec, "labels": (LabelSpec("a", (), ""),), "role": "test", "name": "toy"}
    with PackWriter(tmp_path / "a.h5", **header) as writer:
        writer.append(images(3, spec), {"a": values})
    pack = Pack(tmp_path / "a.h5")
    held = load(pack, device=torch.device("cpu"), rows=np.arange(3), names=("a",))
    assert held.labels["a"].tolist() == [1, 2, 300]
    assert held.sha256() == pack.sha256()


def test_label_names_that_hdf5_cannot_store_are_refused(tmp_path):
    spec = ImageSpec(channels=1, height=2, width=2)
    for name in ("", "a/b", "."):
        with pytest.raises(UserError, match=r"is empty, '\.', repeated or contains a '/'"):
            PackWriter(tmp_path / "a.h5", image=spec, labels=(LabelSpec(name, (), ""),), role="test", name="toy")


def test_the_size_of_labels_is_that_on_a_device(tmp_path):
    spec, values = ImageSpec(channels=1, height=2, width=2), {"a": np.ones((3, 5), np.uint16), "b": np.ones(3)}
    header = {"labels": (LabelSpec("a", (5,), ""), LabelSpec("b", (), "")), "role": "test", "name": "toy"}
    with PackWriter(tmp_path / "a.h5", image=spec, **header) as writer:
        writer.append(images(3, spec), values)
    with Pack(tmp_path / "a.h5") as pack:
        for names in (("a",), ("b",), ("a", "b"), ()):
            held = load(pack, device=torch.device("cpu"), rows=np.arange(3), names=names)
            assert 3 * pack.label_bytes(names) == sum(values.nbytes for values in held.labels.values())


def test_a_path_may_begin_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    spec = ImageSpec(channels=1, height=2, width=2)
    write_pack(tmp_path / "a.h5", samples(images(3, spec)), image=spec, role="real", name="toy")
    assert len(list(read_pack(PackOptions(path="~/a.h5")))) == 3
    with pytest.raises(UserError, match=r"~nobody-of-this-name/a\.h5: no such pack"):
        next(read_pack(PackOptions(path="~nobody-of-this-name/a.h5")))


@pytest.fixture
def good(tmp_path):
    spec = ImageSpec(channels=1, height=9, width=9)
    path = tmp_path / "good.h5"
    write_pack(path, samples(images(30, spec), labels(30)), image=spec, labels=LABELS, role="test", name="toy")
    return path


def test_files_that_are_not_packs_are_refused(good, tmp_path):
    whole = good.read_bytes()
    for name, content, message in (
        ("empty.h5", b"", "not a readable pack"),
        ("garbage.h5", b"\x00\xff nothing like it" * 500, "not HDF5, or truncated"),
        ("half.h5", whole[: len(whole) // 2], "not HDF5, or truncated"),
        ("short.h5", whole[:-1000], "not HDF5, or truncated"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}: .*{message}"):
            Pack(tmp_path / name)
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["image"] = np.zeros((3, 1, 9, 9), np.uint8)
    with pytest.raises(UserError, match=r"foreign\.h5: an HDF5 file but not a synthreal pack"):
        Pack(tmp_path / "foreign.h5")
    for path in (tmp_path / "missing.h5", tmp_path):
        with pytest.raises(UserError, match="no such pack"):
            Pack(path)


def _version(value):
    def edit(file):
        file.attrs["synthreal_pack"] = value

    return edit


def _header(**changes):
    def edit(file):
        content = {**json.loads(file["header"][...].tobytes()), **changes}
        del file["header"]
        file["header"] = np.frombuffer(json.dumps(content).encode(), np.uint8)

    return edit


def _delete(name):
    def edit(file):
        del file[name]

    return edit


def _shorten(file):
    kept = file["labels/gaze"][:-1]
    del file["labels/gaze"]
    file["labels/gaze"] = kept


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_version(3), "pack format 3, this synthreal reads 2; upgrade"),
        (_version(1), "pack format 1, this synthreal reads 2; prepare it again"),
        (_version("2"), "not an integer"),
        (_header(image="{not json"), "damaged"),
        (_header(image={"channels": 1}), "damaged"),
        (_header(image={"channels": 3, "height": 9, "width": 9}), "header says 3x9x9 uint8"),
        (_header(image={"channels": 9, "height": 9, "width": 9}), "ImageSpec.channels is 9"),
        (_header(image={"channels": 1, "height": 9, "width": 9, "dtype": "uint99"}), "damaged pack .dtype: Input"),
        (_header(image={"channels": 1, "height": 9, "width": 9, "meaning": ["eye"]}), "damaged pack .meaning: Input"),
        (_header(image={"channels": 1, "height": 9, "width": 9, "depth": 8}), "damaged pack .depth: "),
        (_header(labels=[{"name": "gaze", "shape": [3], "unit": None}]), r"damaged pack .0\.unit: Input"),
        (_header(labels=[{"name": "gaze", "shape": [3], "unit": "", "scale": 2}]), r"damaged pack .0\.scale: "),
        (_header(role="judge"), "role 'judge' is not one of"),
        (_header(labels=[{"name": "a/b", "shape": [], "unit": ""}]), "label name 'a/b' is empty"),
        (_header(role="real"), r"/labels holds .* \(real\)"),
        (_header(limit="many"), "damaged"),
        (_header(skipped=[["a.png"]]), "damaged"),
        (_delete("header"), "/header is missing"),
        (_delete("image"), "/image is missing"),
        (_delete("labels/gaze"), "/labels holds"),
        (_shorten, r"/labels/gaze is \(29, 3\) for 30 images"),
    ],
)
def test_damaged_packs_are_one_line(good, edit, message):
    with h5py.File(good, "r+") as file:
        edit(file)
    with pytest.raises(UserError, match=message) as caught:
        Pack(good)
    assert str(caught.value).startswith(f"{good}: ")
    assert "\n" not in str(caught.value)


def _external(file):
    with h5py.File(f"{file.filename}.other", "w") as other:
        other["image"] = file["image"][...]
    del file["image"]
    file["image"] = h5py.ExternalLink(f"{file.filename}.other", "image")


def _soft(name):
    def edit(file):
        file.move(name, "elsewhere")
        file[name] = h5py.SoftLink("/elsewhere")

    return edit


def _virtual(file):
    shape = file["image"].shape
    file.move("image", "elsewhere")
    layout = h5py.VirtualLayout(shape, np.uint8)
    layout[...] = h5py.VirtualSource(".", "elsewhere", shape)
    file.create_virtual_dataset("image", layout)


def _stored_in_another_file(file):
    Path(f"{file.filename}.raw").write_bytes(bytes(30 * 81))
    del file["image"]
    file.create_dataset("image", (30, 1, 9, 9), np.uint8, external=[(f"{file.filename}.raw", 0, 30 * 81)])


def _compressed(file):
    pixels = file["image"][...]
    del file["image"]
    file.create_dataset("image", data=pixels, compression="gzip")


def _enormous(file):
    del file["image"], file["labels/gaze"]
    file.create_dataset("image", (2**60, 1, 9, 9), np.uint8, chunks=(1, 1, 9, 9))
    file.create_dataset("labels/gaze", (2**60, 3), np.float32, chunks=(1, 3))


def _text(file):
    del file["labels/gaze"]
    file["labels/gaze"] = np.full((30, 3), "a", h5py.string_dtype())


def _labels_stored_elsewhere(file):
    del file["labels"]
    file.create_dataset("labels", (10**12,), np.uint8, external=[("/dev/zero", 0, 10**12)])


def _labels_without_end(file):
    del file["labels"]
    file.create_dataset("labels", (10**12,), np.uint8, chunks=(1000,))


def _nested(file):
    del file["header"]
    file["header"] = np.frombuffer(b"[" * 100_000, np.uint8)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_external, "/image is missing or a link"),
        (_soft("image"), "/image is missing or a link"),
        (_soft("header"), "/header is missing or a link"),
        (_soft("labels"), "/labels holds"),
        (_soft("labels/gaze"), "/gaze is missing or a link"),
        (_virtual, "/image is stored elsewhere or compressed"),
        (_stored_in_another_file, "/image is stored elsewhere or compressed"),
        (_compressed, "/image is stored elsewhere or compressed"),
        (_enormous, "/image is larger than the file"),
        (_text, "/gaze is not an array of numbers"),
        (_labels_stored_elsewhere, "/labels is not a group"),
        (_labels_without_end, "/labels is not a group"),
        (_nested, "damaged pack"),
    ],
)
def test_a_pack_that_leads_elsewhere_or_lies_about_its_size_is_refused(good, edit, message):
    test_damaged_packs_are_one_line(good, edit, message)


def test_a_damaged_byte_ends_in_one_line(good, tmp_path):
    """Of the structure before the pixels; text attributes of variable length would hang or crash some."""
    whole, path, refused = good.read_bytes(), tmp_path / "byte.h5", 0
    for place in range(0, 3000, 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            with Pack(path) as pack:
                pack.sha256()
        except UserError as error:
            refused += str(error).startswith(f"{path}: ")
    assert refused > 20


def test_packs_can_be_pickled_and_reopened(good):
    pack = Pack(good)
    first = pack.read(slice(0, 2))[0]
    copy = pickle.loads(pickle.dumps(pack))
    np.testing.assert_array_equal(copy.read(slice(0, 2))[0], first)
    pack.close()
    np.testing.assert_array_equal(pack.read(slice(0, 2))[0], first)
    with Pack(good) as entered:
        assert len(entered) == 30


def test_sha256_depends_on_the_content_alone(good, tmp_path):
    spec = ImageSpec(channels=1, height=9, width=9)
    pixels, values = images(30, spec), labels(30)

    def digest(file, pixels, values, **header):
        arguments = {"image": spec, "labels": LABELS, "role": "test", "name": "toy", **header}
        write_pack(tmp_path / file, samples(pixels, values), **arguments)
        return Pack(tmp_path / file).sha256()

    reference = Pack(good).sha256()
    assert digest("same.h5", pixels, values, role="simulated", name="other", options={"a": 1}) == reference
    changed = pixels.copy()
    changed[29, 0, 8, 8] ^= 1
    assert digest("pixel.h5", changed, values) != reference
    assert digest("label.h5", pixels, {**values, "count": values["count"] + 1}) != reference
    assert digest("order.h5", pixels[::-1], {name: array[::-1] for name, array in values.items()}) != reference


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
def test_every_stored_value_survives_the_conversion_to_floats(dtype):
    if dtype == "float16":
        bits = np.arange(0, 0x3C01, dtype=np.uint16)  # every float16 from 0 to 1
        stored = bits.view(np.float16)
    else:
        stored = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    unit = to_unit(stored)
    assert unit.dtype == np.float32
    assert (unit.min(), unit.max()) == (0.0, 1.0)
    assert (np.diff(unit) > 0).all()
    top = 1.0 if dtype == "float16" else np.iinfo(dtype).max
    np.testing.assert_array_equal(unit, stored.astype(np.float32) / np.float32(top))
    tensor = stored_tensor(stored.copy())
    assert tensor.element_size() == stored.itemsize
    np.testing.assert_array_equal(to_unit(tensor).numpy(), unit)
    np.testing.assert_array_equal(stored_array(from_unit(torch.from_numpy(unit), dtype)), stored)
    np.testing.assert_array_equal(stored_array(tensor), stored)


def test_rounding_to_stored_levels_clamps_and_rounds_half_to_even():
    values = torch.tensor([-3.0, 0.5 / 255, 1.5 / 255, 2.5 / 255, 7.0])
    assert from_unit(values, "uint8").tolist() == [0, 0, 2, 2, 255]
    assert stored_array(from_unit(torch.tensor([-1.0, 0.5, 2.0]), "uint16")).tolist() == [0, 32768, 65535]
    assert from_unit(torch.tensor([-1.0, 0.25, 2.0]), "float16").tolist() == [0.0, 0.25, 1.0]
    for dtype in ("uint8", "uint16", "float16"):
        image = torch.rand(9999, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
        assert torch.equal(quantize(image, dtype), to_unit(from_unit(image, dtype)))
        assert quantize(torch.tensor([float("nan")]), dtype).isnan().all()
    with pytest.raises(TypeError, match="int32"):
        to_unit(torch.zeros(2, dtype=torch.int32))
    with pytest.raises(TypeError, match="float32"):
        stored_tensor(np.zeros(2, np.float32))


class _Interrupted:
    """A raw file on which Ctrl-C arrives during a write."""

    def __init__(self, raw):
        self.raw = raw

    def write(self, data):
        raise KeyboardInterrupt

    def __getattr__(self, name):
        return getattr(self.raw, name)


def test_ctrl_c_during_a_write_is_raised(tmp_path):
    spec = ImageSpec(channels=3, height=200, width=301)
    with pytest.raises(KeyboardInterrupt):
        with PackWriter(tmp_path / "a.h5", image=spec, role="real", name="toy") as writer:
            writer._output._raw = _Interrupted(writer._output._raw)
            writer.append(images(20, spec))
    assert leftovers(tmp_path) == []
