"""Write images of shapes with boxes and masks, in the layouts of COCO, ADE20K and PASCAL VOC."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import fields

from ..mm.data.shapes import LAYOUTS, ShapesCfg, make
from .program import command, option

NUMBERS = dict(
    size='side of an image in pixels', train='training images', val='validation images',
    test='test images', objects='most shapes in an image', seed='of the random generators',
)  # fmt: skip


@command(
    option('folder', nargs='?', default='data/shapes', help='a new folder (data/shapes by default)'),
    *(
        option(f'--{f.name}', type=int, default=f.default, help=f'{NUMBERS[f.name]} ({f.default} by default)')
        for f in fields(ShapesCfg)
    ),
    option('--layouts', nargs='+', default=[*LAYOUTS], choices=[*LAYOUTS], help='all by default'),
)
def main(args: Namespace) -> None:
    """Write the images, and say where they are."""
    cfg = ShapesCfg(**{f.name: getattr(args, f.name) for f in fields(ShapesCfg)})
    written = make(args.folder, cfg, args.layouts)
    what = f'{cfg.train} + {cfg.val} + {cfg.test} images of {cfg.size}x{cfg.size} pixels'
    start, preposition = ('Wrote', 'to') if written else ('Already there:', 'in')
    print(f'{start} {what} {preposition} {args.folder}/: {", ".join(args.layouts)}')
