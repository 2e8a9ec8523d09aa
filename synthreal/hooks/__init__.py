"""The five hooks, the built-in components, and the catalog of everything that plugins register."""

from synthreal.hooks.discovery import plugin_manager

__all__ = ["plugin_manager"]
