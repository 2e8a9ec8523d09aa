"""Preparing packs from simulators, folders and packs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from quick import TOY
from toy import IMAGE, DiscOptions, simulator

from synthreal.bulk.prepare import prepare
from synthreal.data.encoding import from_unit, stored_array
from synthreal.data.ondisk import choose_rows
from synthreal.data.pack import Pack
from synthreal.data.seed import derived_generator
from synthreal.data.writer import write_pack
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.spec import ImageSpec, LabelSpec, Sample, Skipped


def test_a_simulator_is_sampled_in_seeded_blocks(toy, tmp_path):
    reported = []
    summary = prepare(toy, "discs", tmp_path / "a.h5", limit=300, seed=3, on_progress=lambda *c: reported.append(c))
    assert (summary.n, summary.skipped, reported) == (300, (), [(256, 300), (300, 300)])
    pack = Pack(tmp_path / "a.h5")
    assert (pack.role, pack.name, pack.image, pack.options) == ("simulated", "discs", IMAGE, {"radius": 2.5})
    assert pack.header.versions["toy.py"].startswith("sha256:")
    image, labels = pack.read(slice(None))
    expected = simulator(DiscOptions(), 256, derived_generator("cpu", 0, "discs", "simulated", 3, "block"))
    np.testing.assert_array_equal(image[:256], stored_array(from_unit(expected.image, "uint8")))
    np.testing.assert_array_equal(labels["centre"][:256], expected.labels["centre"].numpy())
    prepare(toy, "discs", tmp_path / "b.h5", limit=20, seed=3)
    np.testing.assert_array_equal(Pack(tmp_path / "b.h5").read(slice(None))[0], image[:20])


def test_options_and_roles_are_applied(toy, tmp_path):
    prepare(toy, "discs", tmp_path / "small.h5", limit=9, settings=["radius=1.0"])
    prepare(toy, "discs", tmp_path / "large.h5", limit=9, settings=["radius=1.0", "radius=4"])
    assert dict(Pack(tmp_path / "large.h5").options) == {"radius": 4.0}
    small, large = (Pack(tmp_path / f"{name}.h5").read(slice(None))[0].mean() for name in ("small", "large"))
    assert small < large
    prepare(toy, "photographs", tmp_path / "real.h5", limit=9)
    prepare(toy, "photographs", tmp_path / "test.h5", limit=9, role="test")
    assert (Pack(tmp_path / "real.h5").role, Pack(tmp_path / "real.h5").labels) == ("real", ())
    assert [label.name for label in Pack(tmp_path / "test.h5").labels] == ["centre"]


def test_a_folder_is_converted_to_the_image_of_the_domain(toy, tmp_path):
    (tmp_path / "crops").mkdir()
    for i in range(4):
        Image.fromarray(np.full((24, 32), 60 * i, np.uint8)).save(tmp_path / f"crops/{i}.png")
    (tmp_path / "crops/broken.png").write_text("not a picture")
    summary = prepare(toy, "folder", tmp_path / "a.h5", settings=[f"root={tmp_path}/crops"])
    assert summary.n == 4
    assert [item.path.rsplit("/", 1)[-1] for item in summary.skipped] == ["broken.png"]
    pack = Pack(tmp_path / "a.h5")
    assert (pack.image, pack.role) == (IMAGE, "real")
    np.testing.assert_array_equal(pack.read(slice(None))[0][:, 0, 5, 5], [0, 60, 120, 180])
    limited = prepare(toy, "folder", tmp_path / "b.h5", settings=[f"root={tmp_path}/crops"], limit=2)
    assert (limited.n, limited.total) == (2, 4)
    chosen = 60 * choose_rows(4, 2)
    np.testing.assert_array_equal(Pack(tmp_path / "b.h5").read(slice(None))[0][:, 0, 5, 5], chosen)
    few = prepare(toy, "folder", tmp_path / "c.h5", settings=[f"root={tmp_path}/crops"], limit=9)
    assert few.n == 4 and len(few.skipped) == 1


def test_a_pack_keeps_its_labels(toy, tmp_path):
    prepare(toy, "discs", tmp_path / "a.h5", limit=30)
    prepare(toy, "pack", tmp_path / "b.h5", settings=[f"path={tmp_path}/a.h5"], limit=12)
    assert [label.name for label in Pack(tmp_path / "b.h5").labels] == ["centre"]
    np.testing.assert_array_equal(
        Pack(tmp_path / "b.h5").read(slice(None))[1]["centre"],
        Pack(tmp_path / "a.h5").read(choose_rows(30, 12))[1]["centre"],
    )


def test_a_pack_keeps_its_role_unless_another_one_is_requested(toy, tmp_path):
    image = ImageSpec(channels=2, height=5, width=7, dtype="uint16", meaning="not the toy's", background=0.5)
    gone = (Skipped("gone.png", "truncated"), Skipped("lost.png", "empty"))
    pixels = np.random.default_rng(0).integers(0, 65536, (6, *image.shape)).astype(np.uint16)
    for role in ("validation", "real"):
        samples = [*gone, *(Sample(pixel, {"age": np.float32(7)}) for pixel in pixels)]
        age = (LabelSpec("age", (), "years"),)
        write_pack(tmp_path / f"{role}.h5", samples, image=image, labels=age, role=role, name="people")

    def copied(source, out, **arguments):
        settings = [f"path={tmp_path}/{source}.h5"]
        summary = prepare(arguments.pop("catalog", toy), "pack", tmp_path / out, settings=settings, **arguments)
        pack = Pack(tmp_path / out)
        assert (summary.skipped, pack.skipped, pack.image) == (gone, gone, image)
        np.testing.assert_array_equal(pack.read(slice(None))[0], pixels[choose_rows(6, len(pack))])
        return len(pack), pack.role, tuple(pack.read(slice(None))[1])

    assert copied("validation", "a.h5") == (6, "validation", ("age",))
    assert copied("real", "b.h5", limit=2) == (2, "real", ())
    assert copied("validation", "c.h5", catalog=Catalog.of(())) == (6, "validation", ("age",))  # no domain is needed
    assert copied("validation", "d.h5", role="test") == (6, "test", ("age",))
    assert copied("validation", "e.h5", role="real") == (6, "real", ())
    assert copied("real", "f.h5", role="simulated") == (6, "simulated", ())
    with pytest.raises(UserError, match=r"--role test: .*real\.h5 \(real\) holds no labels; use simulated or real"):
        copied("real", "g.h5", role="test")


MISTAKES = [
    ({"dataset": "discs"}, "discs: a simulator draws without end; .* --limit"),
    ({"dataset": "disks", "limit": 2}, "data set 'disks' is not registered .* did you mean 'discs'"),
    ({"dataset": "discs", "limit": 2, "role": "tset"}, "--role tset: not a role; use one of simulated, real"),
    ({"dataset": "discs", "limit": 2, "role": "test"}, "'discs' has no role test; it has simulated"),
    ({"dataset": "discs", "limit": 2, "settings": ["radus=3"]}, "discs: radus: .* did you mean radius"),
    ({"dataset": "discs", "limit": 2, "settings": ["radius=-3"]}, "discs: radius: .*greater than 0"),
    ({"dataset": "folder"}, "folder: root: missing"),
    ({"dataset": "folder", "settings": ["root=none"]}, "folder: root: .*valid string"),
    ({"dataset": "discs", "limit": 2, "device": "tpu"}, "tpu"),
]


def test_mistakes_are_named_and_nothing_is_written(toy, tmp_path):
    for arguments, message in MISTAKES:
        with pytest.raises(UserError, match=message):
            prepare(toy, out=tmp_path / "a.h5", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_domain_needs_an_image_specification(tmp_path):
    with pytest.raises(UserError, match="no recipe"):
        prepare(Catalog.of(()), "folder", tmp_path / "a.h5", settings=[f"root={tmp_path}"])


def test_the_command_reports_skipped_files(tmp_path, cli):
    (tmp_path / "crops").mkdir()
    Image.fromarray(np.full((24, 32), 60, np.uint8)).save(tmp_path / "crops/a.png")
    (tmp_path / "crops/b.png").write_text("not a picture")
    done = cli("prepare", "folder", tmp_path / "a.h5", "--plugin", TOY, "--set", f"root={tmp_path}/crops").ok()
    assert done.out == f"{tmp_path}/a.h5: 1 images\n"
    assert f"skipped {tmp_path}/crops/b.png: not a whole PNG" in done.err
    assert done.err.endswith("1 unreadable files skipped\n")


def test_a_pack_of_a_pack_records_the_folder_of_the_images(toy, tmp_path, monkeypatch):
    (tmp_path / "crops").mkdir()
    Image.fromarray(np.full((24, 32), 60, np.uint8)).save(tmp_path / "crops/0.png")
    monkeypatch.chdir(tmp_path)
    prepare(toy, "folder", "a.h5", settings=["root=crops"])
    prepare(toy, "pack", "b.h5", settings=["path=a.h5"])
    for name in ("a.h5", "b.h5"):
        with Pack(name) as pack:
            assert (pack.name, pack.options["root"]) == ("folder", str(tmp_path / "crops"))


def test_labels_of_pictures_are_written_in_labelled_roles(toy, tmp_path):
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((12, 16), 100 * number, np.uint8)).save(tmp_path / name / "0.png")
    (tmp_path / "lone.png").write_bytes((tmp_path / "cat/0.png").read_bytes())
    plain = [f"root={tmp_path}", "crop=[12, 16]"]
    labelled = [*plain, 'labels={kind="folders", classes=["cat", "dog"]}']
    for role in ("simulated", "test"):
        summary = prepare(toy, "pictures", tmp_path / f"{role}.h5", settings=labelled, role=role)
        assert [item.reason for item in summary.skipped] == ["lies in no class folder"]
        image, labels = Pack(tmp_path / f"{role}.h5").read(slice(None))
        assert sorted(labels["class"].tolist()) == [0, 1] and labels["class"].dtype == np.int64
        np.testing.assert_array_equal(image[:, 0, 0, 0], 100 * labels["class"])
    prepare(toy, "pictures", tmp_path / "real.h5", settings=labelled)
    assert (Pack(tmp_path / "real.h5").role, Pack(tmp_path / "real.h5").labels) == ("real", ())
    with pytest.raises(UserError, match="--role test: pictures has no labels; set its option `labels`"):
        prepare(toy, "pictures", tmp_path / "none.h5", settings=plain, role="test")
