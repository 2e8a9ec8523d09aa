"""Refining whole data sets: packs, folders of images, tar shards; restartable, on many processes, bit for bit."""
