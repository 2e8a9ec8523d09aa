"""All rules, and the check of a domain against them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.testing.datasets import batched, devices, images, labels, reproducible
from synthreal.testing.domain import Domain
from synthreal.testing.games import connections, game
from synthreal.testing.networks import convolutional, refiner_sizes
from synthreal.testing.offline import offline
from synthreal.testing.outcome import DomainError, Outcome, RuleSkipped
from synthreal.testing.specs import recipes, specs
from synthreal.testing.tasks import detector, metrics, overfits
from synthreal.train.plugin_fault import reporting

Rule: TypeAlias = Callable[[Domain], str | None]
"""Returns a remark or nothing. Raises ``UserError`` if the rule is broken, ``RuleSkipped`` if it cannot be tried."""

RULES: dict[str, Rule] = {
    rule.__name__.replace("_", "-"): rule
    for rule in (
        specs,
        recipes,
        images,
        labels,
        reproducible,
        batched,
        devices,
        refiner_sizes,
        convolutional,
        overfits,
        metrics,
        detector,
        game,
        connections,
    )
}


def check_domain(catalog: Catalog, name: str) -> tuple[Outcome, ...]:
    """Try a plugin against every rule, with its default recipe, on the CPU, in about a minute.

    Args:
        catalog: a catalog in which the plugin is loaded.
        name: the plugin, as it was given to ``Catalog.of``.

    Returns:
        One outcome per rule, ok or skipped. Rules on files that are absent are skipped, with the reason.

    Raises:
        DomainError: rules are broken; the message has a line for each, with what to change.
        UserError: the plugin is not in the catalog.
    """
    outcomes = tuple(run_rules(Domain.of(catalog, name)))
    if any(outcome.status == "failed" for outcome in outcomes):
        raise DomainError(name, outcomes)
    return outcomes


def run_rules(domain: Domain) -> Iterator[Outcome]:
    """The outcome of every rule, as soon as it is known."""
    for name in RULES:
        yield run_rule(domain, name)


def run_rule(domain: Domain, name: str) -> Outcome:
    """Try one rule. Connections are refused; those that were asked for break the rule ``connections``."""
    try:
        with offline() as attempts, reporting(f"rule {name}"):
            try:
                return Outcome(name, "ok", RULES[name](domain) or "")
            except RuleSkipped as reason:
                return Outcome(name, "skipped", str(reason))
            finally:
                domain.attempts.extend(attempts)
    except UserError as broken:
        return Outcome(name, "failed", str(broken))
