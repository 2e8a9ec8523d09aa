"""The toy domain with one mistake, and the rules of the author's kit that find it."""

from __future__ import annotations

from dataclasses import replace

from quick import TOY
from torch import nn

from synthreal.hooks.catalog import Catalog, Entry
from synthreal.spec import NetworkSpec
from synthreal.testing.check import run_rule, run_rules
from synthreal.testing.domain import Domain

PLUGIN = str(TOY)
SIMULATED, REAL, TEST = ("discs", "simulated"), ("photographs", "real"), ("photographs", "test")


def changed(toy: Catalog, table: str, key, **change) -> Catalog:
    """The toy domain in which one spec has other fields."""
    entries = dict(getattr(toy, table))
    entries[key] = Entry(replace(entries[key].spec, **change), entries[key].origin)
    return replace(toy, **{table: entries})


def with_network(toy: Catalog, part: str, module: type[nn.Module]) -> Catalog:
    """The toy domain with one more network."""
    spec = NetworkSpec(name="mine", part=part, build=lambda options, image: module())
    return replace(toy, networks={**toy.networks, (part, "mine"): Entry(spec, toy.recipes["toy"].origin)})


def failed(catalog: Catalog, *rules: str) -> dict[str, str]:
    """The messages of broken rules, of all or of some."""
    domain = Domain.of(catalog, PLUGIN)
    outcomes = [run_rule(domain, rule) for rule in rules] if rules else run_rules(domain)
    found = {outcome.rule: outcome.message for outcome in outcomes if outcome.status == "failed"}
    assert all("\n" not in message and ";" in message for message in found.values()), found
    return found
