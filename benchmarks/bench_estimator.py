"""How fast does an estimator train? One short training of the recipes ``gaze`` and ``hands``, against the reference.

Usage: ``python benchmarks/bench_estimator.py [--quick] [--device auto] [--threads 1] [--repeats 5] [--json FILE]``

The library (``runtime.layout`` channels_last, fused Adam) and the reference (torch's default layout and Adam) train the
same network on the same images for the same number of steps and evaluate it on the held-out tenth, in float32 and, if
the machine has it, in bfloat16. They take turns in one process; a ratio is of neighbouring turns, and the median is
given.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial

import torch
from clock import spent
from library import PRECISION
from limit import higher, limit_gflops
from record import Row, arguments, finish, precisions, timed_row
from torch.utils.flop_counter import FlopCounterMode

import synthreal
from synthreal.data import Resident
from synthreal.device import configure_process
from synthreal.evaluation import Task, train
from synthreal.train import open_stream

DOMAINS = ("gaze", "hands")
BATCH, STEPS = 64, 8


def plain_train(task: Task, data: Resident) -> None:
    """The same training as a PyTorch user writes it, in the default layout."""
    model = task.spec.build(task.options, task.image).to(data.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=task.budget.learning_rate)
    generator = torch.Generator(data.device).manual_seed(0)
    held_out, rows = torch.randperm(len(data)).tensor_split([len(data) // 10])
    precision = torch.bfloat16 if task.precision == "bfloat16" else None
    for _ in range(task.steps[1]):
        batch = data.select(rows[torch.randint(len(rows), (BATCH,))])
        if task.spec.augment is not None:
            batch = task.spec.augment(batch, generator)
        with torch.autocast(data.device.type, dtype=precision, enabled=precision is not None):
            loss = task.spec.loss(model(batch.image), batch.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        batch = data.select(held_out)
        task.spec.metrics(model(batch.image), batch.labels)


def prepare(options: argparse.Namespace, domain: str, precision: str) -> tuple[Task, Resident]:
    """The task of a demo recipe with a budget of a few steps, and simulated images to train on."""
    device, catalog = torch.device(options.device), synthreal.Catalog.of([domain])
    count = 2 * round(BATCH * STEPS / 1.8)
    difference = {
        "data": {"simulated": {"count": count}},
        "schedule": {"batch": count},
        "evaluation": {"images": count, "epochs": 1, "batch": BATCH},
        "runtime": {"device": options.device, "threads": options.threads, "precision": PRECISION[precision]},
    }
    config = synthreal.configure(catalog, difference, recipe=domain)
    configure_process(config.runtime)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_stream(config, catalog, "simulated", device=device, run_dir=folder) as stream,
    ):
        batch = stream.batch(0)
    return Task.of(config, catalog, device), Resident(batch.image.half(), batch.labels)


def compare(options: argparse.Namespace, domain: str, precision: str) -> Row:
    """The row of a domain and a precision."""
    device = torch.device(options.device)
    task, data = prepare(options, domain, precision)
    ours, reference = partial(train, task, data, seed=0), partial(plain_train, task, data)
    with FlopCounterMode(display=False) as counter:
        ours()
    reference()
    turns = [(spent(ours, device), spent(reference, device)) for _ in range(options.repeats)]
    return timed_row(
        f"{domain}_estimator",
        options=options,
        batch=BATCH,
        precision=precision,
        images=BATCH * STEPS,
        gflop=counter.get_total_flops() / 1e9,
        turns=[turn for turn, _ in turns],
        against=[turn for _, turn in turns],
    )


def main() -> None:
    """Measure, print and write."""
    options = arguments(__doc__)
    device = torch.device(options.device)
    limit = limit_gflops(device)
    rows = [compare(options, domain, precision) for domain in DOMAINS for precision in precisions(options)]
    finish(options, higher(limit, limit_gflops(device)), rows)


if __name__ == "__main__":
    main()
