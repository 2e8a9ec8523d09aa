"""MLflow, at ``MLFLOW_TRACKING_URI``; without it, where MLflow stores runs by default."""

from __future__ import annotations

import os
import time
from pathlib import Path

from synthreal.config import ResolvedConfig
from synthreal.train.loggers.run_id import read_run_id, write_run_id
from synthreal.train.run_dir import leaves

EXPERIMENT = "synthreal"
LONGEST = 500  # characters of a parameter; all servers accept it
MOST = 100  # parameters of a request


class MLflow:
    """A run of the experiment ``MLFLOW_EXPERIMENT_NAME``, or "synthreal", whose parameters are the settings.

    A resumed run continues the same run; values that a killed process had logged already are then there twice.
    """

    def __init__(self, folder: Path, name: str, config: ResolvedConfig, *, resume: bool) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient()
        run_id = read_run_id(folder) if resume else None
        if run_id is None:
            run_id = self._create(name, config)
            write_run_id(folder, run_id)
        else:
            self._client.update_run(run_id, status="RUNNING")
        self._run_id = run_id

    def log(self, step: int, values: dict[str, float]) -> None:
        """Add values by tag."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(self._run_id, metrics=[Metric(tag, value, now, step) for tag, value in values.items()])

    def close(self, *, finished: bool) -> None:
        """Set the status of the run."""
        self._client.set_terminated(self._run_id, "FINISHED" if finished else "KILLED")

    def _create(self, name: str, config: ResolvedConfig) -> str:
        """A new run with its parameters."""
        from mlflow.entities import Param

        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self._client.get_experiment_by_name(experiment)
        where = self._client.create_experiment(experiment) if found is None else found.experiment_id
        run_id = str(self._client.create_run(where, run_name=name).info.run_id)
        settings = [Param(key, str(value)[:LONGEST]) for key, value in leaves(config.tree())]
        for first in range(0, len(settings), MOST):
            self._client.log_batch(run_id, params=settings[first : first + MOST])
        return run_id
