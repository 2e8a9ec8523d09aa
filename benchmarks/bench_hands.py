"""Training speed on hand depth images: the paper's 7x7 refiner at 224x224, on whole images and on patches.

Usage: ``python benchmarks/bench_hands.py [--quick] [--device auto] [--threads 1] [--repeats 5] [--json FILE]``

The comparison is that of ``bench_step.py``. Rows ``hands_whole_*`` train on images of 224 px, rows ``hands_patch_*`` on
patches of 96 px (18 % of the pixels); so does the reference. The batch size is 2 on the CPU (half of it past images)
and 16, the paper's, on a GPU.
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
    """Run the benchmark, print and write its rows."""
    options = arguments(__doc__)
    device = torch.device(options.device)
    limit, rows = limit_gflops(device), []
    with tempfile.TemporaryDirectory() as folder:
        pack = pack_of(folder, HANDS, images=64)
        whole = {**HANDS, **pack, "device": options.device, "threads": options.threads, "precision": "fp32"}
        whole["batch"] = 2 if options.device == "cpu" else 16
        for name, patch in (("hands_patch_", PATCH), ("hands_whole_", None)):
            rows += compare(options, {**whole, "patch": patch}, prefix=name)
    finish(options, higher(limit, limit_gflops(device)), rows)


if __name__ == "__main__":
    main()
