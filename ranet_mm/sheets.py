"""What a network attends to, drawn: sheets of one image each; needs matplotlib, which is imported when one is drawn.

Places are in inches from the upper left corner, so that nothing overlaps whatever the numbers of modules and columns.
Maps are in viridis, which is perceptually uniform, and each has its scale beneath.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .attention import AttentionMaps, busiest, reduced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 160
SIDE = 1.6  # inches of a picture's longer side: 256 pixels, a multiple of those of CIFAR
GAP, TITLE, BAR = 0.14, 0.3, 0.26  # between pictures, above one, and below one for its scale
START = GAP + SIDE + 3 * GAP  # of the columns behind the image
COLUMNS = 6  # modules beside each other
COLORS = 'viridis'
INK, GREY, ACCENT = '#1a1a1a', '#5c5c5c', '#31688e'
GUESSES = 5
LETTERS = 24  # of a class's name


@dataclass
class Seen:
    """An image, and what a model made of it.

    Attributes:
        image: As the network got it, normalization undone, (3, H, W) in [0, 1].
        maps: Of its modules by name, each (1, C, h, w), all channels.
        guesses: Classes with their probabilities, the most probable first; they may be fewer or none.
        title: Of the image.
        model: What it was shown to.
    """

    image: Tensor
    maps: dict[str, AttentionMaps]
    guesses: Sequence[tuple[str, float]] = ()
    title: str = ''
    model: str = ''


# Kinds of sheets ----------------------------------------------------------------------------------------


def overview(seen: Sequence[Seen], reduce: str = 'mean') -> Figure:
    """Each model's masks from fine to coarse, alone and over the image, and its most probable classes."""
    heights = [TITLE + -(-len(one.maps) // COLUMNS) * block_height(one) for one in seen]
    columns = [min(COLUMNS, len(one.maps)) * (sides(one.image)[1] + GAP) for one in seen]
    page = Page(GAP + SIDE + 3 * GAP + max(columns), GAP + sum(heights))
    top = GAP
    for one, height in zip(seen, heights, strict=True):
        page.headline(GAP, top, one.title, one.model)
        block(page, one, top + TITLE, reduce)
        top += height
    return page.figure


def block_height(one: Seen) -> float:
    """Of a row of masks with their overlays; the classes beside them have a picture's height."""
    return TITLE + sides(one.image)[0] + BAR + max(sides(one.image)[0], 0.3 * len(one.guesses[:GUESSES])) + GAP


def block(page: Page, one: Seen, top: float, reduce: str) -> None:
    height, width = sides(one.image)
    page.input(top, one)
    for number, (name, maps) in enumerate(one.maps.items()):
        row, column = divmod(number, COLUMNS)
        x, y = START + column * (width + GAP), top + row * block_height(one) + TITLE
        mask = reduced(maps, reduce).mask[0, 0]
        page.map(x, y, mask, (height, width), name, described(maps), ends(mask))
        page.overlay(x, y + height + BAR, one.image, mask)
        if not column:
            page.side(x, y, height, f'mask, {REDUCED[reduce]}')
            page.side(x, y + height + BAR, height, 'over the input')


def comparison(one: Seen, channels: Sequence[int] = ()) -> Figure:
    """The paper's Figure 1: for each module the feature before the mask, the mask, and the feature behind it.

    Args:
        one: The image.
        channels: Which, the same of each module; by default the one in which the module's mask adds most.

    Raises:
        ValueError: A module has no such channel.
    """
    chosen = {name: channels or [int(busiest(maps)[0])] for name, maps in one.maps.items()}
    for name, maps in one.maps.items():
        check_channels(channels, name, maps.mask.shape[1])
    height, width = sides(one.image)
    groups = max(len(channels), 1)
    group, row = 3 * (width + GAP) + 2 * GAP, TITLE + height + BAR + GAP / 2
    top = GAP + TITLE
    page = Page(START + groups * group - 2 * GAP, top + max(len(one.maps) * row, block_height(one)))
    page.headline(GAP, GAP, one.title, one.model)
    page.input(top, one)
    for number, (name, maps) in enumerate(one.maps.items()):
        for place, channel in enumerate(chosen[name]):
            x, y = START + place * group, top + number * row + TITLE
            mask, trunk, product = (whole[0, channel] for whole in maps)
            scale = ends(torch.stack([trunk, product]))
            size, label = (height, width), f'{name}, channel {channel}'
            page.map(x, y, trunk, size, label, 'feature before the mask', scale)
            page.map(x + width + GAP, y, mask, size, '', 'mask', ends(mask))
            page.map(x + 2 * (width + GAP), y, product, size, '', 'feature after the mask', scale)
    return page.figure


def strip(steps: Sequence[tuple[str, Seen]], reduce: str = 'mean') -> Figure:
    """How the masks of an image change over a run: a column for each checkpoint, a row for each module on one scale.

    Args:
        steps: Label of each checkpoint, as in `epoch 3`, and what its model made of the image.
        reduce: What becomes of the channels.
    """
    first = steps[0][1]
    height, width = sides(first.image)
    row = height + BAR
    page = Page(START + len(steps) * (width + GAP), GAP + 2 * TITLE + len(first.maps) * row + GAP / 2)
    page.headline(GAP, GAP, first.title, first.model)
    page.input(GAP + TITLE, replace(first, guesses=()))
    top = GAP + 2 * TITLE
    for number, name in enumerate(first.maps):
        masks = [reduced(one.maps[name], reduce).mask[0, 0] for _, one in steps]
        scale, y = ends(torch.stack(masks)), top + number * row
        page.side(START, y, height, f'{name}, {REDUCED[reduce]}')
        for place, (mask, (label, one)) in enumerate(zip(masks, steps, strict=True)):
            guess = ', '.join(f'{shortened(label)}: {100 * p:.0f} %' for label, p in one.guesses[:1])
            titles = (label, guess) if number == 0 else ('', '')
            x = START + place * (width + GAP)
            page.map(x, y, mask, (height, width), *titles, scale, bar=place == len(steps) - 1)
    return page.figure


REDUCED = dict(mean='mean of channels', max='greatest channel', active='most active channel', pca='first component')


# What they are made of ----------------------------------------------------------------------------------


@dataclass
class Page:
    """A white figure of so many inches, on which things have places."""

    width: float
    height: float
    figure: Figure = field(init=False)

    def __post_init__(self) -> None:
        from matplotlib.figure import Figure

        self.figure = Figure((self.width, self.height), dpi=DPI, facecolor='white')

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        bottom = self.height - top - height
        sides = left / self.width, bottom / self.height, width / self.width, height / self.height
        axes = self.figure.add_axes(sides, xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes

    def text(self, left: float, top: float, text: str, size: float = 7, **options: Any) -> None:
        """Its baseline at `top`; names of files and classes are no formulas."""
        place = left / self.width, 1 - top / self.height
        self.figure.text(*place, text, **{'fontsize': size, 'color': INK, 'parse_math': False, **options})

    def headline(self, left: float, top: float, title: str, model: str) -> None:
        room = int((self.width - 2 * GAP) * 12)  # letters
        model = shortened(model, room // 2)
        self.text(left, top + 0.14, shortened(title, room - len(model) - 4), 9, weight='bold')
        self.text(self.width - GAP, top + 0.14, model, 8, color=GREY, ha='right')

    def titles(self, left: float, top: float, title: str, more: str) -> None:
        self.text(left, top - (0.17 if more else 0.05), title, weight='bold')
        self.text(left, top - 0.05, more, 6.5, color=GREY)

    def side(self, left: float, top: float, height: float, text: str) -> None:
        """Beside a picture, upwards."""
        self.text(left - 0.06, top + height / 2, text, 6.5, color=GREY, rotation=90, ha='right', va='center')

    def input(self, top: float, one: Seen) -> None:
        """The image in the first column, and beneath it the classes."""
        height, width = one.image.shape[1:]
        self.titles(GAP, top + TITLE, 'input', f'{width} x {height} pixels')
        self.picture(GAP, top + TITLE, one.image.movedim(0, -1))
        self.guesses(GAP, top + TITLE + sides(one.image)[0] + BAR, one.guesses)

    def picture(self, left: float, top: float, colors: Any) -> None:
        """`colors`: (H, W, 3) in [0, 1]."""
        height, width = sides(colors[..., 0])
        self.axes(left, top, width, height).imshow(colors, aspect='auto')

    def map(
        self, left: float, top: float, values: Tensor, size: tuple[float, float], title: str, more: str,
        scale: tuple[float, float], bar: bool = True,
    ) -> None:  # fmt: skip
        """`values`: (h, w), in a picture of the size (height, width), with its scale beneath."""
        height, width = size
        self.titles(left, top, title, more)
        low, high = scale
        self.axes(left, top, width, height).imshow(values.numpy(), COLORS, aspect='auto', vmin=low, vmax=high)
        if bar:
            self.bar(left, top + height + 0.04, width, scale)

    def bar(self, left: float, top: float, width: float, scale: tuple[float, float]) -> None:
        self.axes(left, top, width, 0.05).imshow(torch.linspace(0, 1, 256)[None].numpy(), COLORS, aspect='auto')
        for value, align, place in zip(scale, ('left', 'right'), (left, left + width), strict=True):
            self.text(place, top + 0.07, number(value, scale), 6, color=GREY, ha=align, va='top')

    def overlay(self, left: float, top: float, image: Tensor, mask: Tensor) -> None:
        """The mask's colors over the image in grey."""
        from matplotlib import colormaps

        low, high = ends(mask)
        large = F.interpolate(mask[None, None], image.shape[1:], mode='bilinear', align_corners=False)[0, 0]
        colors = colormaps[COLORS](((large - low) / (high - low)).clamp(0, 1).numpy())[..., :3]
        grey = image.mean(0)[..., None].numpy()
        self.picture(left, top, (0.5 * grey + 0.5 * colors).clip(0, 1))

    def guesses(self, left: float, top: float, guesses: Sequence[tuple[str, float]]) -> None:
        """Names and probabilities, each over a line as long as it is probable."""
        for number, (name, probability) in enumerate(guesses[:GUESSES]):
            y = top + 0.1 + 0.3 * number
            self.text(left, y, shortened(name))
            self.text(left + SIDE, y, f'{100 * probability:.1f} %', ha='right')
            axes = self.axes(left, y + 0.05, SIDE, 0.05)
            axes.set(xlim=(0, 1), ylim=(0, 1), facecolor='#e6e6e6')
            axes.patch.set_visible(True)
            axes.barh(0.5, probability, 1, color=ACCENT)


def pixels(figure: Figure) -> Any:
    """(height, width, 3), an array of uint8."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def sides(image: Tensor) -> tuple[float, float]:
    """Height and width of an image's picture in inches, of (..., H, W)."""
    height, width = image.shape[-2:]
    return SIDE * height / max(height, width), SIDE * width / max(height, width)


def ends(values: Tensor) -> tuple[float, float]:
    """Least and greatest value, which differ where all are the same, so that they have a scale."""
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 0.5, low + 0.5)


def number(value: float, scale: tuple[float, float]) -> str:
    """With as many places as tell the ends of its scale apart."""
    return f'{value:.2f}' if 0.02 < scale[1] - scale[0] < 10 else f'{value:.3g}'


def described(maps: AttentionMaps) -> str:
    _, channels, height, width = maps.mask.shape
    return f'{channels} channels of {width} x {height}'


def check_channels(channels: Sequence[int], name: str, count: int) -> None:
    for channel in channels:
        if not 0 <= channel < count:
            raise ValueError(f'channel {channel} is not allowed: module {name} has channels 0 to {count - 1}')


def shortened(text: str, letters: int = LETTERS) -> str:
    """A name with its middle left out where it is too long."""
    half = max(1, (letters - 1) // 2)
    return text if len(text) <= letters else f'{text[:half]}…{text[-half:]}'
