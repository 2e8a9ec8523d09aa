"""Ranks and collectives: the only place that knows of several processes."""
