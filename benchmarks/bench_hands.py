"""How fast is training on depth hands? The paper's 7x7 refiner at 224x224, on whole images and on patches.

Usage: ``python benchmarks/bench_hands.py [--quick] [--device auto] [--threads 1] [--repeats 5] [--json FILE]``

The same comparison as ``bench_step.py``, rows ``hands_whole_*`` and ``hands_patch_*``: the whole image is 224 px, the
patch 96 px, 18 % of it. The reference trains on whole images in the first, on equal patches in the second. The batch
is 2 on the CPU (half of it past images) and 16, the paper's, on a GPU.
"""

from __future__ import annotations

import tempfile

import torch
from bench_step import compare
from limit import higher, limit_gflops
from packs import HANDS, pack_of
from record import arguments, finish

PATCH = 96


def main() -> None:
    """Measure, print and write."""
    asked = arguments(__doc__)
    device = torch.device(asked.device)
    limit, rows = limit_gflops(device), []
    with tempfile.TemporaryDirectory() as folder:
        pack = pack_of(folder, HANDS, images=64)
        whole = {**HANDS, **pack, "device": asked.device, "threads": asked.threads, "precision": "fp32"}
        whole["batch"] = 2 if asked.device == "cpu" else 16
        for name, patch in (("hands_patch_", PATCH), ("hands_whole_", None)):
            rows += compare(asked, {**whole, "patch": patch}, prefix=name)
    finish(asked, higher(limit, limit_gflops(device)), rows)


if __name__ == "__main__":
    main()
