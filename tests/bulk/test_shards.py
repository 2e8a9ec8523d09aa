"""Tar shards: keys, order and all other members stay the same."""

from __future__ import annotations

import io
import resource
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from quick import files

from synthreal.bulk import pictures
from synthreal.bulk.refine import refine_bulk
from synthreal.errors import UserError
from synthreal.images.picture import read_picture

RNG = np.random.default_rng(0)


def picture(form="PNG"):
    target = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (12, 16), np.uint8)).save(target, form)
    return target.getvalue()


def write(path, members):
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), 1234567, 0o640
            tar.addfile(member, io.BytesIO(content))
    return path


def read(path):
    with tarfile.open(path) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]


def sample(key, **more):
    return [
        (f"{key}.json", f'"{key}"'.encode()),
        (f"{key}.png", picture()),
        (f"{key}.seg.png", picture()),
        *more.items(),
    ]


@pytest.fixture
def shards(tmp_path):
    """Three shards with 5, 0 and 7 samples, and a file beside them."""
    root = tmp_path / "in"
    for number, count in enumerate((5, 0, 7)):
        members = [part for index in range(count) for part in sample(f"some/{number}/{index:03d}")]
        write(root / f"{number}.tar", members)
    (root / "README").write_text("read me")
    return root


def test_only_pictures_change(noisy, shards, tmp_path, monkeypatch):
    done = refine_bulk(noisy, shards, tmp_path / "out")
    assert (done.refined, done.copied) == (12, 25)
    assert files(tmp_path / "out") == files(shards)
    for name in ("0.tar", "1.tar", "2.tar"):
        before, after = read(shards / name), read(tmp_path / "out" / name)
        assert [(m.name, m.mtime, m.mode) for m, _ in after] == [(m.name, m.mtime, m.mode) for m, _ in before]
        for (member, old), (_, new) in zip(before, after, strict=True):
            if member.name.endswith("seg.png") or not member.name.endswith(".png"):
                assert new == old
            else:
                assert np.abs(read_picture(new).colour.astype(int) - read_picture(old).colour).mean() > 1
    monkeypatch.setattr(pictures.Pictures, "block_size", lambda self, batch, size: 2)  # several chunks in a shard
    refine_bulk(noisy, shards, tmp_path / "again")
    for name in ("0.tar", "1.tar", "2.tar"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_a_single_shard_is_refined_like_a_folder(noisy, shards, tmp_path):
    refine_bulk(noisy, shards / "2.tar", tmp_path / "out.tar", batch_size=4, samples=3)
    (tmp_path / "pictures").mkdir()
    for member, content in read(shards / "2.tar"):
        if member.name.endswith(".png") and "seg" not in member.name:
            (tmp_path / "pictures" / member.name.rpartition("/")[2]).write_bytes(content)
    refine_bulk(noisy, tmp_path / "pictures", tmp_path / "refined", batch_size=4, samples=3)
    found = {m.name.rpartition("/")[2]: content for m, content in read(tmp_path / "out.tar")}
    for name in files(tmp_path / "refined"):
        assert found[name] == (tmp_path / "refined" / name).read_bytes()


def test_versions_are_separate_samples(plain, shards, tmp_path):
    done = refine_bulk(plain, shards / "0.tar", tmp_path / "out.tar", samples=2)
    assert done.refined == 10
    members = read(tmp_path / "out.tar")
    assert [member.name for member, _ in members[:6]] == [
        f"some/0/000-{version}.{extension}" for version in (0, 1) for extension in ("json", "png", "seg.png")
    ]
    assert members[0][1] == members[3][1] and members[1][1] != members[4][1] and members[2][1] == members[5][1]


def test_a_job_stopped_while_it_replaces_a_shard_continues(noisy, shards, tmp_path, monkeypatch):
    source, target = shards / "0.tar", tmp_path / "out.tar"
    refine_bulk(noisy, source, target, seed=0)
    refine_bulk(noisy, source, tmp_path / "new.tar", seed=1)
    replace = Path.replace

    def stop(self, to):
        if to == target:
            raise KeyboardInterrupt
        return replace(self, to)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", stop)
        refine_bulk(noisy, source, target, seed=1, overwrite=True)
    assert refine_bulk(noisy, source, target, seed=1).done == "refined"
    assert target.read_bytes() == (tmp_path / "new.tar").read_bytes()
    assert not (tmp_path / "out.tar.parts").exists()


def test_a_limit_takes_whole_samples(noisy, shards, tmp_path):
    refine_bulk(noisy, shards, tmp_path / "out", limit=6)
    assert [len(read(tmp_path / "out" / f"{number}.tar")) for number in range(3)] == [15, 0, 3]


def test_a_sample_with_a_failed_picture_is_left_out(plain, tmp_path):
    source = write(tmp_path / "in" / "a.tar", [*sample("0"), ("1.json", b"1"), ("1.png", b"no"), *sample("2")])
    done = refine_bulk(plain, source, tmp_path / "out.tar")
    ((path, reason),) = [(item.path, item.reason) for item in done.failed]
    assert path == f"{source}/1.png" and reason.startswith("not a whole PNG")
    assert [member.name.partition(".")[0] for member, _ in read(tmp_path / "out.tar")] == ["0"] * 3 + ["2"] * 3


def test_long_names_are_preserved(noisy, tmp_path):
    key = "a" * 90 + "/" + "ü" * 90
    source = write(tmp_path / "in" / "a.tar", [(f"{key}.png", picture())])
    refine_bulk(noisy, source, tmp_path / "out.tar")
    ((member, content),) = read(tmp_path / "out.tar")
    assert member.name == f"{key}.png" and read_picture(content).colour.shape == (1, 12, 16)
    refine_bulk(noisy, source, tmp_path / "two.tar", samples=2)
    assert [member.name for member, _ in read(tmp_path / "two.tar")] == [f"{key}-0.png", f"{key}-1.png"]


def test_webdataset_reads_the_result(plain, shards, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    refine_bulk(plain, shards, tmp_path / "out")
    data = webdataset.WebDataset(str(tmp_path / "out" / "2.tar"), shardshuffle=False, empty_check=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files open
        found = list(data.decode("l8"))
    assert [row["__key__"] for row in found] == [f"some/2/{index:03d}" for index in range(7)]
    assert all(row["png"].shape == (12, 16) and row["json"] == row["__key__"] for row in found)


def test_inputs_that_are_no_shard_are_refused(plain, tmp_path):
    source = write(tmp_path / "in" / "a.tar", [("a.seg.png", picture())])
    with pytest.raises(UserError, match=r"no member with the extension png, .* alone; nothing to refine"):
        refine_bulk(plain, source, tmp_path / "out.tar")
    source.write_bytes(b"no tar")
    with pytest.raises(UserError, match=r"a\.tar: not a readable tar"):
        refine_bulk(plain, source, tmp_path / "out.tar")
    with pytest.raises(UserError, match=r"a\.tar\.gz: not a pack .*; give the unpacked \.tar"):
        refine_bulk(plain, source.with_name("a.tar.gz"), tmp_path / "out.tar")


def test_a_truncated_or_damaged_shard_is_refused(plain, tmp_path):
    source = write(tmp_path / "in" / "a.tar", [(f"{index}.png", picture()) for index in range(3)])
    whole = source.read_bytes()
    with tarfile.open(source) as tar:
        places = [member.offset for member in tar]
    for content in (
        whole[: places[1]],
        whole[: places[1] + 99],
        whole[: places[1] + 600],
        whole[: places[1]] + b"?" * 512 + whole[places[1] + 512 :],
    ):
        source.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.tar: not a readable tar \(.*; make it again"):
            refine_bulk(plain, source, tmp_path / "out.tar")
    assert list(tmp_path.iterdir()) == [source.parent]


def test_a_limit_leaves_out_later_shards(noisy, shards, tmp_path):
    done = refine_bulk(noisy, shards, tmp_path / "out", limit=4)
    assert done.refined == 4 and files(tmp_path / "out") == ["0.tar", "README"]
    assert len(read(tmp_path / "out" / "0.tar")) == 12


def test_compressed_shards_and_dangling_links_are_listed_and_not_copied(noisy, shards, tmp_path):
    for name in ("3.tar.gz", "3.TGZ"):
        (shards / name).write_bytes(b"x")
    (shards / "gone.txt").symlink_to("nowhere")
    (shards / "loop.txt").symlink_to("loop.txt")
    done = refine_bulk(noisy, shards, tmp_path / "out")
    reasons = {item.path.removeprefix(f"{shards}/"): item.reason for item in done.failed}
    assert reasons.keys() == {"3.tar.gz", "3.TGZ", "gone.txt", "loop.txt"}
    assert reasons["3.TGZ"] == "a compressed shard is not refined; give the unpacked .tar"
    assert files(tmp_path / "out") == ["0.tar", "1.tar", "2.tar", "README"] and done.copied == 25


def test_other_files_behind_a_link_out_of_the_folder_are_not_copied(noisy, shards, tmp_path):
    (tmp_path / "key").write_text("secret")
    (shards / "notes.txt").symlink_to("../key")
    done = refine_bulk(noisy, shards, tmp_path / "out")
    assert "link out of the folder" in next(item.reason for item in done.failed if item.path.endswith("notes.txt"))
    assert not (tmp_path / "out" / "notes.txt").exists()


def test_members_that_lead_elsewhere_are_copied_and_never_followed(tmp_path, plain):
    """Absolute and upward names, links and devices: nothing is written outside the result or read through them."""
    (tmp_path / "in").mkdir()
    secret = tmp_path / "secret.png"
    secret.write_bytes(content := picture())
    with tarfile.open(tmp_path / "in/a.tar", "w") as tar:
        for name in ("../up.png", f"{tmp_path}/absolute.png", "inside.png"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, kind in (("soft.png", tarfile.SYMTYPE), ("hard.png", tarfile.LNKTYPE), ("zero.png", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.devmajor, member.devminor = kind, str(secret), 1, 5
            tar.addfile(member)
    before = files(tmp_path)
    done = refine_bulk(plain, tmp_path / "in/a.tar", tmp_path / "in/../out.tar")
    assert (done.refined, done.copied) == (3, 3)
    assert sorted(files(tmp_path)) == sorted([*before, "out.tar", "out.tar.job.json"])
    with tarfile.open(tmp_path / "out.tar") as tar:
        kinds = {member.name: (member.type, member.size) for member in tar if not member.isreg()}
    assert {name: size for name, (_, size) in kinds.items()} == {"soft.png": 0, "hard.png": 0, "zero.png": 0}


def header(name, size=0, kind=tarfile.REGTYPE):
    """A header in ustar format; a negative or huge size is written in base 256."""
    member = tarfile.TarInfo(name)
    member.type = kind
    content = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    if size:
        content[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
        content[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(content))[0]
    return bytes(content)


def pax(**records):
    """A pax header with these records."""
    member = tarfile.TarInfo("x")
    member.pax_headers = {name.replace("_", "."): value for name, value in records.items()}
    return member.tobuf(tarfile.PAX_FORMAT)[:-512]


TB = 1 << 40
HOSTILE = {
    "TB": header("a.png", TB),
    "beyond 64 bits": header("a.png", 1 << 80),
    "negative": header("a.png", -512),
    "TB name": header("a.png", TB, tarfile.GNUTYPE_LONGNAME) + header("a.png"),
    "TB pax": header("a.png", TB, tarfile.XHDTYPE) + header("a.png"),
    "TB pax size": pax(size=str(TB)) + header("a.png"),
    "sparse": pax(GNU_sparse_size=str(TB), GNU_sparse_map="0,0") + header("a.png"),
    "chain": header("a.png", 0, tarfile.GNUTYPE_LONGNAME) * 3000 + header("a.png"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_shard_is_refused_at_once(case, plain, tmp_path):
    (tmp_path / "in.tar").write_bytes(HOSTILE[case] + bytes(10240))
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (64 << 30, before[1]))  # a terabyte would be a MemoryError
    try:
        with pytest.raises(UserError, match=r"in\.tar: (not a readable tar \(.*; make it again|no member)"):
            refine_bulk(plain, tmp_path / "in.tar", tmp_path / "out.tar")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert [path.name for path in tmp_path.iterdir()] == ["in.tar"]


def test_a_sample_whose_header_cannot_be_written_is_left_out(plain, tmp_path):
    source = write(tmp_path / "in.tar", [*sample("0"), ("1.png", picture())])
    content = source.read_bytes()
    with tarfile.open(source) as tar:
        place = tar.getmember("1.png").offset
    source.write_bytes(content[:place] + pax(mtime="nan") + content[place:])
    done = refine_bulk(plain, source, tmp_path / "out.tar")
    assert [(item.path, "header cannot be written again" in item.reason) for item in done.failed] == [
        (f"{source}/1.png", True)
    ]
    assert [member.name.partition(".")[0] for member, _ in read(tmp_path / "out.tar")] == ["0"] * 3


def test_pictures_of_other_formats_fail_and_hidden_members_are_copied(noisy, tmp_path):
    members = [
        *sample("a"),
        ("b.json", b"{}"),
        ("b.heic", b"x"),
        ("c.pic", b"\0\0\0\x18ftypheic"),
        ("d.exr", b"depth"),
        ("d.png", picture()),
        ("e.json", b"{}"),
        ("__MACOSX/f.png", picture()),
        ("./.hidden/g.png", picture()),
        ("./h.png", picture()),
    ]
    source = write(tmp_path / "in" / "a.tar", members)
    done = refine_bulk(noisy, source, tmp_path / "out.tar")
    assert [item.path.rpartition("/")[2] for item in done.failed] == ["b.heic", "c.pic"]
    assert (done.refined, done.copied) == (3, 6)
    before, after = dict(members), {member.name: content for member, content in read(tmp_path / "out.tar")}
    assert list(after) == [name for name in before if name[:2] not in ("b.", "c.")]
    assert {name for name in after if after[name] != before[name]} == {"a.png", "d.png", "./h.png"}
