"""Loading that names the file at fault."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read the file at `img_path` into `img`, (H, W, 3) in RGB order.

    Images that a data set holds in memory are RGB already; those that an inferencer of mmpretrain passes are BGR, and
    are turned around.

    Args:
        to_float32: Give float32 instead of uint8, for transforms that leave the range from 0 to 255.

    Raises:
        ValueError: The file cannot be decoded whole.
    """

    def __init__(self, to_float32: bool = False) -> None:
        self.dtype = np.float32 if to_float32 else np.uint8

    def transform(self, results: dict) -> dict:
        if 'img_path' not in results:
            if 'sample_idx' not in results:  # of no data set, so an inferencer read it
                results['img'] = np.ascontiguousarray(results['img'][..., ::-1], self.dtype)
            return results
        path = results['img_path']
        try:
            with Image.open(path) as file:
                img = np.array(file.convert('RGB'), self.dtype)
        except OSError as error:
            raise ValueError(f'image {path!r} cannot be read whole: {error}') from error
        results.update(img=img, img_shape=img.shape[:2], ori_shape=img.shape[:2])
        return results
