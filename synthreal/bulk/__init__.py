"""Whole data sets: preparing packs, and refining packs, folders of pictures and tar shards, with restarts."""
