"""Weight files."""

from __future__ import annotations

from torch import nn

from synthreal.inference.weights import read_metadata, write_weights


def test_the_same_weights_are_the_same_bytes(tmp_path):
    """safetensors writes metadata in random order, which once made equal runs look different."""
    network, metadata = nn.Linear(2, 3), {name: "é" for name in "zyxwvu"}
    contents = set()
    for _ in range(8):
        write_weights(tmp_path / "w.safetensors", network, metadata)
        contents.add((tmp_path / "w.safetensors").read_bytes())
    assert len(contents) == 1
    assert read_metadata(tmp_path / "w.safetensors", remedy="") == {**metadata, "format": "pt"}
