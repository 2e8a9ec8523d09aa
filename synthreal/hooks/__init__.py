"""The five hooks, the built-in components and the catalog of everything plugins offer."""
