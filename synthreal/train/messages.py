"""What is said of two folders of pictures before training: what was found, and what a user should know."""

from __future__ import annotations

from synthreal.config import ResolvedConfig, SourceConfig
from synthreal.data.pictures import scaled_sizes
from synthreal.data.survey import Survey

Size = tuple[int, int]


def picture_lines(
    config: ResolvedConfig, renders: Survey, photographs: Survey, shorter: int | None, minutes: tuple[float, float]
) -> tuple[str, str]:
    """What was found, and how it is trained on; ``minutes`` are those of training and of refining all renders."""
    brought = "" if shorter is None else f", brought to {shorter} px"
    data, image, schedule = config.data, config.image, config.schedule
    found = (
        f"renders: {_described(renders, data.simulated)}; photographs: {_described(photographs, data.real)}{brought}"
    )
    windows = [source.options.get("crops", 1) for source in (data.simulated, data.real)]
    patch = "" if schedule.patch is None else f" in patches of {schedule.patch} px"
    training = (
        f"training on windows of {image.height}x{image.width} px ({windows[0]} of a render, {windows[1]} of a "
        f"photograph){patch}: {schedule.total} steps, about {minutes[0]:.1f} minutes; refining: "
        f"{minutes[1]:.1f} minutes"
    )
    return found, training


def _described(found: Survey, source: SourceConfig) -> str:
    """The number, mode and size of the pictures of a folder."""
    files = source.options.get("files") or found.total
    count = f"{found.total:,}" if files >= found.total else f"{files:,} of {found.total:,}, a random choice (seed 0)"
    colours = "grey" if found.grey == found.sampled else "colour" if not found.grey else "grey and colour"
    bits = "16 bits" if found.deep == found.sampled else "8 bits" if not found.deep else "8 and 16 bits"
    sides = sorted(map(min, found.sizes))
    size = "{}x{} px".format(*found.sizes[0])
    if len(set(found.sizes)) > 1:
        size = "shorter side " + (f"{sides[0]}" if sides[0] == sides[-1] else f"{sides[0]} to {sides[-1]}") + " px"
    return f"{count}, {colours}, {bits}, {size}"


def picture_warnings(renders: Survey, photographs: Survey, crop: Size, shorter: int | None) -> list[str]:
    """What a user should know about the pictures."""
    warnings = []
    for name, found, side in (("renders", renders, None), ("photographs", photographs, shorter)):
        if found.several:
            warnings.append(f"{_share(found.several, found)} {name} hold several pictures; the first of each is used")
        sizes = scaled_sizes(found.sizes, side)
        if enlarged := sum(height < crop[0] or width < crop[1] for height, width in sizes):
            warnings.append(f"{_share(enlarged, found)} {name} are smaller than a window and are enlarged")
    if 0 < renders.grey < renders.sampled:
        warnings.append(
            f"{_share(renders.grey, renders)} renders are grey; the refiner is for RGB images and does not refine grey "
            "files"
        )
    if renders.turned:
        turned = _share(renders.turned, renders)
        warnings.append(f"EXIF turns {turned} renders, but R refines them as they are stored; save them upright")
    return warnings


def _share(count: int, found: Survey) -> str:
    return f"{count} of {found.sampled}"
