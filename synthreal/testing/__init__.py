"""The author's kit: the rules that every domain keeps, and the template of a new plugin.

:func:`check_domain` tries a plugin against every rule, as scikit-learn's ``check_estimator`` does with an estimator;
:func:`domain_tests` makes one pytest test of each rule. ``synthreal plugins check`` and ``synthreal plugins new`` are
the same on the command line. The rules are in :data:`synthreal.testing.check.RULES`.
"""

from synthreal.testing.check import check_domain
from synthreal.testing.outcome import DomainError, Outcome
from synthreal.testing.pytest_rules import domain_tests

__all__ = ["DomainError", "Outcome", "check_domain", "domain_tests"]
