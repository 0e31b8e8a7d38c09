"""Write images of shapes with boxes and masks, in the layouts of COCO, ADE20K and PASCAL VOC."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields

from . import program

NUMBERS = dict(
    size='side of an image in pixels', train='training images', val='validation images',
    test='test images', objects='most shapes in an image', seed='of the random generators',
)  # fmt: skip


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    from ..mm.data.shapes import LAYOUTS, ShapesCfg

    parser = program.Parser('make-shapes', __doc__)
    parser.add_argument('folder', nargs='?', default='data/shapes', help='a new folder (data/shapes by default)')
    for field in fields(ShapesCfg):
        text = f'{NUMBERS[field.name]} ({field.default} by default)'
        parser.add_argument(f'--{field.name}', type=int, default=field.default, help=text)
    parser.add_argument('--layouts', nargs='+', default=[*LAYOUTS], choices=[*LAYOUTS], help='all by default')
    return parser.parse_args(argv)


def shapes(args: argparse.Namespace) -> None:
    """Write the images, and say where they are."""
    from ..mm.data.shapes import ShapesCfg, make

    cfg = ShapesCfg(**{f.name: getattr(args, f.name) for f in fields(ShapesCfg)})
    written = make(args.folder, cfg, args.layouts)
    what = f'{cfg.train} + {cfg.val} + {cfg.test} images of {cfg.size}x{cfg.size} pixels'
    start, preposition = ('Wrote', 'to') if written else ('Already there:', 'in')
    print(f'{start} {what} {preposition} {args.folder}/: {", ".join(args.layouts)}')


main = program.entry(shapes, parse_args)
