"""The classes, the image size and the label specs that every data set of the domain shares.

A label is true of the pixels that carry it: points are (x, y) in px of the image, x to the right, y down, with pixel
centres at integers, so an image of 32 px reaches from -0.5 to 31.5.

The data sets share these specs, because an evaluator accepts a data set only if the label specs are equal.
"""

from __future__ import annotations

from typing import Literal

from synthreal import ImageSpec, LabelSpec

RealRole = Literal["real", "real_labelled", "validation", "test"]

SPEEDS = (20, 30, 50, 60, 70, 80, 100, 120)  # km/h; a class label is an index into it
GTSRB_CLASSES = (0, 1, 2, 3, 4, 5, 7, 8)  # the class numbers of GTSRB, in the same order
SIZE = 32  # px, the side of an image

SIGN = ImageSpec(channels=3, height=SIZE, width=SIZE, dtype="uint8", meaning="speed limit sign")
CLASS = LabelSpec("class", (), "index of the speed limit in km/h", tuple(map(str, SPEEDS)))
CORNERS = LabelSpec("corners", (4, 2), "px, x and y: top left, top right, bottom right, bottom left of the plate")
RING = LabelSpec("ring", (5,), "px of centre x, y and semi-axes a >= b, rad from x to a; outer border of the red ring")
TRACK = LabelSpec("track", (), "100000 * class number of GTSRB + track")
