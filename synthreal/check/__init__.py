"""Checking data sets before training: what is in them, and what is wrong with them."""

from synthreal.check.contents import Contents
from synthreal.check.sets import Check, check_sets

__all__ = ["Check", "Contents", "check_sets"]
