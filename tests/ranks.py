"""Functions that tests run in several processes; the processes import this module."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from quick import TOY, configured, fit_toy
from toy import Tint

import synthreal.data.source
from synthreal.config import LossConfig
from synthreal.core.game import Game
from synthreal.core.history import History
from synthreal.distributed.join import process_group
from synthreal.distributed.processes import Processes
from synthreal.errors import PeerError, UserError
from synthreal.hooks.catalog import Catalog
from synthreal.train.fit import steps, train_step
from synthreal.train.log import MetricAccumulator
from synthreal.train.setup import set_up

# Twenty steps with random simulated images, patches and noise, without a history, which differs between processes.
ALIKE = (
    "history=none",
    "quality=none",
    "data.simulated.count=none",
    "refiner.options.noise_channels=1",
    "schedule.patch=8",
    "schedule.steps=15",
    "schedule.save_every=100",
)

# Whole mini-batches, which two processes sum in another order than one. Small SGD steps, because a rounding error that
# changes the sign of one |R(x) - x| would move a parameter by a whole Adam step.
ROUNDED = (
    "runtime.micro_batch=none",
    *(f'optimizer.{network}={{name="sgd", learning_rate=0.002}}' for network in ("refiner", "discriminator")),
)


def free_port() -> int:
    """An unused port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def variables(rank: int, size: int, port: int) -> dict[str, str]:
    """The environment variables that torchrun sets."""
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    which = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    return {name: str(value) for name, value in {**where, **which}.items()}


def together(function: Callable[..., Any], *arguments: Any, size: int = 2) -> None:
    """Call a function of this module in each of ``size`` processes; an exception of one of them is raised here."""
    torch.multiprocessing.spawn(_enter, (size, free_port(), function, arguments), nprocs=size)


def _enter(rank: int, size: int, port: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ.update(variables(rank, size, port))
    torch.set_num_threads(1)
    function(*arguments)


def everything(folder: Path) -> None:
    """All checks of one pair of processes, so that they are started once."""
    check_collectives()
    check_failure_reaches_the_others()
    check_running_statistics_are_averaged()
    fit_toy(Catalog.of([str(TOY)]), folder / "alike", *ALIKE)
    fit_toy(Catalog.of([str(TOY)]), folder / "rounded", *ALIKE, *ROUNDED)
    check_early_stopping_ends_all()
    check_files_are_read_once(folder)
    check_histories(folder)
    stop_and_resume(folder)


def check_collectives() -> None:
    with process_group() as processes:
        assert (processes.size, processes.is_main) == (2, processes.rank == 0)
        pair = [torch.full((2, 3), float(processes.rank)), torch.arange(4.0).reshape(2, 2).t() * processes.rank]
        processes.all_reduce_mean(pair)
        assert torch.equal(pair[0], torch.full((2, 3), 0.5))
        assert torch.equal(pair[1], torch.arange(4.0).reshape(2, 2).t() / 2)
        assert processes.broadcast({"rank": processes.rank}) == {"rank": 0}
        assert processes.gather(processes.rank) == ([0, 1] if processes.is_main else [])
        assert (
            processes.scatter(["first", "second"] if processes.is_main else []) == ["first", "second"][processes.rank]
        )
        assert [processes.any(processes.rank == rank) for rank in (0, 1, 2)] == [True, True, False]
        network = Tint()
        network.tone.data += processes.rank
        processes.broadcast_parameters([network])
        assert network.tone.tolist() == [0.0, 1.0]
        with process_group() as inner:
            assert (inner.rank, inner.size) == (processes.rank, processes.size)


def check_failure_reaches_the_others() -> None:
    """One process fails and the other learns of it; then both continue."""
    rank = int(os.environ["RANK"])
    with pytest.raises(UserError if rank else PeerError), process_group() as processes:
        if rank:
            raise UserError("bad input of rank 1")
        processes.wait()


def check_running_statistics_are_averaged() -> None:
    """Running statistics of both networks are averaged along with the gradients of one, which may be missing."""
    with process_group() as processes:
        refiner, discriminator = torch.nn.BatchNorm2d(1), torch.nn.BatchNorm2d(1)
        idle = torch.optim.SGD(refiner.parameters(), lr=1.0)
        game = Game(refiner, discriminator, (), LossConfig(), idle, idle, torch.Generator(), processes=processes)
        discriminator.running_mean.fill_(processes.rank)
        if processes.is_main:
            refiner.weight.grad = torch.ones(1)
        game.average_gradients(refiner)
        assert float(discriminator.running_mean) == 0.5
        assert (float(refiner.weight.grad), float(refiner.bias.grad)) == (0.5, 0.0)


def check_early_stopping_ends_all() -> None:
    """Only rank 0 monitors quality; all processes end when its patience is exhausted."""
    toy = Catalog.of([str(TOY)])
    ending = ("quality.every=1", "quality.patience=1", "schedule.steps=60", "schedule.save_every=100")
    with tempfile.TemporaryDirectory() as folder, process_group() as processes:
        last = fit_toy(toy, Path(processes.broadcast(folder)) / "run", *ending)
        assert last is not None and last.quality is not None and last.step < 65
        assert len(set(processes.gather((last.step, last.quality, last.loss_discriminator)))) == (
            1 if processes.is_main else 0
        )


def check_files_are_read_once(folder: Path) -> None:
    """Rank 0 reads a folder into a pack; the other process waits and reads the pack."""
    made = []
    original = synthreal.data.source.write_pack
    synthreal.data.source.write_pack = lambda *how, **more: made.append(how) or original(*how, **more)
    toy = Catalog.of([str(TOY)])
    config = configured(toy, f'data.real={{name="folder", options={{root="{folder}/photographs"}}}}', "quality=none")
    with process_group() as processes:
        if processes.is_main:
            (folder / "photographs").mkdir()
            for shade in range(30):
                Image.new("L", (16, 12), shade).save(folder / "photographs" / f"{shade:02}.png")
        processes.wait()
        with set_up(config, toy, folder / "read", resume=False) as run:
            levels = 255 * run.feed.take("real")
            shares = processes.gather(levels[:, 0, 0, 0].round().int().tolist())
        assert len(made) == (1 if processes.is_main else 0)
        if processes.is_main:
            assert len(set(shares[0] + shares[1])) == 8  # every image once per epoch
    synthreal.data.source.write_pack = original


def check_histories(folder: Path) -> None:
    """Each process has its own history and draws its own slots; the networks are equal on both."""
    slots = []
    original = History.draw

    def draw(history: History, count: int, generator: torch.Generator) -> torch.Tensor:
        state = generator.get_state()
        slots.append(torch.randperm(len(history), generator=generator)[:count].tolist())
        generator.set_state(state)
        return original(history, count, generator)

    toy = Catalog.of([str(TOY)])
    config = configured(toy, "quality=none", "refiner.options.noise_channels=1")
    History.draw = draw  # type: ignore[method-assign]
    with set_up(config, toy, folder / "shared", resume=False) as run:
        for step in range(config.schedule.total):
            train_step(
                run.game, run.feed, config.schedule, config.schedule.phase(step), MetricAccumulator(run.processes)
            )
        assert run.game.history is not None
        networks = (*run.game.refiner.state_dict().values(), *run.game.discriminator.state_dict().values())
        mine = {
            "networks": torch.cat([values.flatten() for values in networks]),
            "history": run.game.history.images,
            "slots": slots,
            "generator": run.game.generator.get_state(),
        }
        _compare_ranks(run.processes, mine)
    History.draw = original  # type: ignore[method-assign]


def _compare_ranks(processes: Processes, mine: dict[str, Any]) -> None:
    all_of = processes.gather(mine)
    if processes.is_main:
        first, second = all_of
        assert torch.equal(first["networks"], second["networks"])
        assert torch.equal(first["generator"], second["generator"])
        assert first["history"].shape == second["history"].shape == (6, 1, 12, 16)  # 12 in all
        assert not torch.equal(first["history"], second["history"])
        assert len(first["slots"]) == len(second["slots"]) == 7  # all updates of D except the first
        assert {len(chosen) for chosen in first["slots"] + second["slots"]} == {2}  # 8 images: 4 each, 2 of them past
        assert first["slots"] != second["slots"]


def stop_and_resume(folder: Path) -> None:
    """Rank 1 requests a stop after step 7, and both resume; the test compares the run with an uninterrupted one."""
    toy = Catalog.of([str(TOY)])
    settings = ("refiner.options.noise_channels=1", "data.real.count=none")
    rank = os.environ["RANK"]
    fit_toy(toy, folder / "whole", *settings)
    done = []
    reports = steps(configured(toy, *settings), toy, folder / "cut", stopped=lambda: rank == "1" and len(done) == 6)
    for report in reports:
        done.append(report.step)
    assert done == [1, 2, 3, 4, 5, 6, 7]
    fit_toy(toy, folder / "cut", *settings, resume=True)
