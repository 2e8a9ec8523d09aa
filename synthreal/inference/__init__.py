"""The trained refiner: as a transform, saved and loaded, over tiles and indexed images."""
