"""Loading of images, by the reader that all of the package reads with."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio

from ... import images
from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read the file at `img_path`, or at that address, into `img`, (H, W, 3) in RGB order; see `ranet_mm.images`.

    Images that a data set holds in memory are RGB already and stay as they are. Arrays that are handed to an inferencer
    of mmpretrain are BGR, or (H, W) grey, and become RGB.

    Args:
        to_float32: Give float32 instead of uint8, for transforms that leave the range from 0 to 255.

    Raises:
        ValueError: The file cannot be decoded whole, or an array has another shape or no known scale.
    """

    reads_files = True  # which tells inferencers to hand paths on, see `hub.read_images`

    def __init__(self, to_float32: bool = False) -> None:
        self.dtype = np.float32 if to_float32 else np.uint8

    def transform(self, results: dict) -> dict:
        if 'img_path' in results:
            path = results['img_path']
            img = images.read(path, fileio.get if '://' in str(path) else None)
        elif 'sample_idx' in results:  # of a data set
            return results
        else:
            img = rgb(results['img'])
        img = np.array(img, self.dtype)
        results.update(img=img, img_shape=img.shape[:2], ori_shape=img.shape[:2])
        return results


def rgb(bgr: np.ndarray) -> np.ndarray:
    """An array of (H, W, 3) BGR, (H, W, 1) or (H, W) as (H, W, 3) RGB of 8 bits."""
    if not (bgr.size and bgr.shape[2:] in ((), (1,), (3,)) and bgr.ndim in (2, 3)):
        raise ValueError(
            f'image array of the shape {bgr.shape} is not allowed: it must be (H, W, 3) in BGR order, or (H, W)'
        )
    try:
        levels = images.levels(bgr)
    except ValueError as error:
        raise ValueError(f'image array is not allowed: {error}') from error
    return np.repeat(levels.reshape(*bgr.shape[:2], -1), 3 // levels[0, 0].size, 2)[..., ::-1]
