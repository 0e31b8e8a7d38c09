"""Images of circles, squares and triangles with boxes and masks: data for detection and segmentation, no download.

The same images are written in the layouts of COCO, ADE20K and PASCAL VOC, so that mmdet's and mmseg's own data sets
read them. An image depends on the seed, its split and its number alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageDraw

from ... import files

CLASSES = ('circle', 'square', 'triangle')
PALETTE = ((128, 128, 128), (220, 60, 60), (60, 160, 60), (60, 90, 220))  # background first
SPLITS = ('train', 'val', 'test')
MARKER = 'shapes.json'


def number(default: int, least: int = 1) -> int:
    """A field that is a whole number, `least` or more."""
    return field(default=default, metadata=dict(least=least))


@dataclass(frozen=True)
class ShapesCfg:
    """What the images are like.

    Args:
        size: Side of an image in pixels.
        train: Number of training images.
        val: Number of validation images.
        test: Number of test images.
        objects: Most shapes in an image; each has at least one.
        seed: Of the random generators.

    Raises:
        ValueError: A field has a value that is not allowed.
    """

    size: int = number(64, least=32)
    train: int = number(300)
    val: int = number(100)
    test: int = number(100)
    objects: int = number(3)
    seed: int = number(0, least=0)

    def __post_init__(self) -> None:
        for of in fields(self):
            value, least = getattr(self, of.name), of.metadata['least']
            if value < least:
                raise ValueError(f'{of.name}={value!r} is not allowed: it must be {least} or more')


@dataclass(frozen=True)
class Instance:
    """A shape in an image: its class's number, and which pixels of it are to be seen, (H, W) bool."""

    label: int
    mask: np.ndarray

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in pixels; right and bottom are the first outside."""
        rows, cols = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1


@dataclass(frozen=True)
class Sample:
    """An image, (H, W, 3) uint8, and the shapes in it."""

    stem: str
    image: np.ndarray
    instances: list[Instance]

    def classes(self) -> np.ndarray:
        """(H, W) uint8: 0 for background, else the class's number plus 1."""
        found = np.zeros(self.image.shape[:2], np.uint8)
        for instance in self.instances:
            found[instance.mask] = instance.label + 1
        return found


def samples(cfg: ShapesCfg, split: str) -> Iterator[Sample]:
    """The images of a split, one after the other."""
    for number in range(getattr(cfg, split)):
        generator = np.random.default_rng([cfg.seed, SPLITS.index(split), number])
        yield _draw(generator, cfg, f'{split}_{number:06d}')


def _draw(generator: np.random.Generator, cfg: ShapesCfg, stem: str) -> Sample:
    """Shapes over a gradient, a later one in front of an earlier one, all under noise."""
    image = _gradient(generator, cfg.size)
    instances: list[Instance] = []
    colours: list[np.ndarray] = []
    for _ in range(generator.integers(1, cfg.objects + 1)):
        label = int(generator.integers(len(CLASSES)))
        mask = _shape(generator, cfg.size, CLASSES[label])
        behind = [Instance(i.label, i.mask & ~mask) for i in instances]
        if any(2 * after.mask.sum() < before.mask.sum() for before, after in zip(instances, behind, strict=True)):
            continue  # would hide most of what is there
        colours.append(_colour(generator, label, [*colours, image[mask].mean(0)]))
        image[mask] = colours[-1]
        instances = [*behind, Instance(label, mask)]
    noisy = image + generator.normal(0, 12, image.shape)
    return Sample(stem, noisy.clip(0, 255).astype(np.uint8), instances)


def _gradient(generator: np.random.Generator, size: int) -> np.ndarray:
    corners = generator.uniform(0, 255, (2, 2, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(corners).resize((size, size), Image.Resampling.BILINEAR), np.float64).copy()


def _colour(generator: np.random.Generator, label: int, others: Sequence[np.ndarray]) -> np.ndarray:
    """Halfway between the class's own and a random one: of 16 the one that stands out most from all others."""
    candidates = (generator.uniform(0, 255, (16, 3)) + PALETTE[label + 1]) / 2
    distances = np.abs(candidates[:, None] - np.stack(others)).max(-1).min(-1)
    return candidates[distances.argmax()]


def _shape(generator: np.random.Generator, size: int, name: str) -> np.ndarray:
    """A shape of a quarter to more than half of the image's side, whole inside the image, turned a little."""
    radius = generator.uniform(0.13, 0.28) * size
    centre = generator.uniform(radius, size - 1 - radius, 2)
    canvas = Image.new('1', (size, size))
    draw = ImageDraw.Draw(canvas)
    if name == 'circle':
        draw.ellipse([*(centre - radius), *(centre + radius)], fill=1)
    else:
        corners, first = dict(square=(4, 0.25), triangle=(3, 1))[name]  # the first one's angle in units of pi
        angles = np.pi * (first + generator.uniform(-0.1, 0.1) + 2 * np.arange(corners) / corners)
        points = centre + radius * np.stack([np.sin(angles), np.cos(angles)], 1)
        draw.polygon([tuple(p) for p in points], fill=1)
    return np.array(canvas)


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """A mask in COCO's uncompressed form: lengths of runs down the columns, zeros first, as pycocotools reads it."""
    flat = mask.ravel(order='F')
    edges = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), flat.size]
    lengths = [b - a for a, b in pairwise(edges)]
    return dict(size=list(mask.shape), counts=[0, *lengths] if flat[0] else lengths)


def write_coco(folder: Path, split: str, found: Sequence[Sample]) -> None:
    """`<split>2017/*.jpg` and `annotations/instances_<split>2017.json`."""
    size = found[0].image.shape[0]
    instances = [(image, instance) for image, sample in enumerate(found) for instance in sample.instances]
    listing = dict(
        categories=[dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)],
        images=[dict(id=i, file_name=f'{s.stem}.jpg', height=size, width=size) for i, s in enumerate(found)],
        annotations=[_coco_annotation(number, *place) for number, place in enumerate(instances, 1)],
    )
    for sample in found:
        _save(folder / f'{split}2017' / f'{sample.stem}.jpg', sample.image)
    files.write(folder / 'annotations' / f'instances_{split}2017.json', json.dumps(listing) + '\n')


def _coco_annotation(number: int, image: int, instance: Instance) -> dict[str, Any]:
    left, top, right, bottom = instance.box
    return dict(
        id=number, image_id=image, category_id=instance.label + 1, iscrowd=0, area=int(instance.mask.sum()),
        bbox=[left, top, right - left, bottom - top], segmentation=run_lengths(instance.mask),
    )  # fmt: skip


def write_ade(folder: Path, split: str, found: Sequence[Sample]) -> None:
    """`{images,annotations}/{training,validation,test}/*`; in the masks 1 is background, 2 a circle and so on."""
    name = dict(train='training', val='validation').get(split, split)
    for sample in found:
        _save(folder / 'images' / name / f'{sample.stem}.jpg', sample.image)
        _save(folder / 'annotations' / name / f'{sample.stem}.png', sample.classes() + 1)


def write_voc(folder: Path, split: str, found: Sequence[Sample]) -> None:
    """`VOC2012/{JPEGImages,Annotations,SegmentationClass,ImageSets}`; in the masks 0 is background, 1 a circle."""
    root = folder / 'VOC2012'
    for sample in found:
        _save(root / 'JPEGImages' / f'{sample.stem}.jpg', sample.image)
        _save(root / 'SegmentationClass' / f'{sample.stem}.png', sample.classes(), palette=True)
        files.write(root / 'Annotations' / f'{sample.stem}.xml', _voc_xml(sample))
    listing = '\n'.join(s.stem for s in found) + '\n'
    for use in ('Main', 'Segmentation'):
        files.write(root / 'ImageSets' / use / f'{split}.txt', listing)


def _voc_xml(sample: Sample) -> str:
    root = ElementTree.Element('annotation')
    height, width, depth = sample.image.shape
    _add(root, filename=f'{sample.stem}.jpg', size=dict(width=width, height=height, depth=depth))
    for instance in sample.instances:
        left, top, right, bottom = instance.box
        box = dict(xmin=left + 1, ymin=top + 1, xmax=right, ymax=bottom)  # from 1 on, the second corner inside
        _add(root, object=dict(name=CLASSES[instance.label], difficult=0, truncated=0, bndbox=box))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding='unicode') + '\n'


def _add(parent: ElementTree.Element, **fields: Any) -> None:
    """Add an element for each field; a dict is an element of elements."""
    for name, value in fields.items():
        entry = ElementTree.SubElement(parent, name)
        if isinstance(value, dict):
            _add(entry, **value)
        else:
            entry.text = str(value)


LAYOUTS: dict[str, Callable[[Path, str, Sequence[Sample]], None]] = dict(
    coco=write_coco, ade=write_ade, VOCdevkit=write_voc
)


def make(folder: str | Path, cfg: ShapesCfg | None = None, layouts: Sequence[str] = tuple(LAYOUTS)) -> bool:
    """Write the images into one subfolder for each layout.

    Returns:
        Whether anything was written: a folder that holds the very same images is left as it is.

    Raises:
        ValueError: There is no such layout.
        FileExistsError: The folder holds something else; nothing is written then.
    """
    cfg, folder = cfg or ShapesCfg(), Path(folder)
    for layout in layouts:
        if layout not in LAYOUTS:
            raise ValueError(f'layout={layout!r} is not known: allowed are {", ".join(LAYOUTS)}')
    marker, settings = folder / MARKER, dict(**asdict(cfg), layouts=sorted(layouts))
    if folder.is_dir() and any(folder.iterdir()):
        if marker.is_file() and json.loads(marker.read_text()) == settings:
            return False
        raise FileExistsError(f'folder {str(folder)!r} holds other files: choose another, or remove it first')
    for split in SPLITS:
        found = list(samples(cfg, split))
        for layout in layouts:
            LAYOUTS[layout](folder / layout, split, found)
    files.write(marker, json.dumps(settings, indent=1) + '\n')  # last: a folder without it is not whole
    return True


def _save(path: Path, pixels: np.ndarray, palette: bool = False) -> None:
    image = Image.fromarray(pixels)
    if palette:
        image.putpalette([value for colour in PALETTE for value in colour])
    with files.whole(path) as draft:
        image.save(draft, **(dict(quality=95) if path.suffix == '.jpg' else {}))
