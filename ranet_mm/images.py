"""The one reader of image files: training, testing, predicting and mmpretrain's inferencers see the same picture.

It is what an image viewer shows, upright, as RGB of 8 bits:

- The first frame of an animation, the first page of a document.
- Turned as its EXIF orientation says; an EXIF block that cannot be read says nothing.
- What is transparent, in whatever way, lies over `BACKGROUND`.
- 16 bits a channel are brought to 8 by their higher byte. Integers of 32 bits and floating-point numbers, whose files
  do not say what is white, are on the least scale of `levels` that holds them.
- Other modes as Pillow converts them; profiles of colour are not applied.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

RULES = 2  # counts up when the same file gives other pixels, so that what was decoded before is decoded again
BACKGROUND = (255, 255, 255)
SIXTEEN = np.uint16  # PNG and PPM have no more, and Pillow brings fewer to as many
# By what Pillow calls the coding of a file, where this says more than the mode of the decoded image.
BITS = {'I;12': 12}
KINDS = {'I;16S': np.int16, 'I;16BS': np.int16, 'I;16NS': np.int16, 'I;32N': np.uint32}
LARGE = ('ignore', None, Image.DecompressionBombWarning, None, 0)
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0  # a tag of TIFF


def read(path: Any, fetch: Callable[[str], bytes] | None = None) -> Image.Image:
    """What a file shows, an RGB image of PIL.

    Args:
        path: Of the file.
        fetch: Gives the bytes of the file, where it is on no disk.

    Raises:
        ValueError: The file is not there, cannot be decoded whole, or does not say what it shows.
    """
    if warnings.filters[:1] != [LARGE]:  # beyond twice that many pixels Pillow refuses a file, which is the limit here
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
    try:
        # A stream: by its path, Pillow maps a TIFF file into memory as if it were not to be turned.
        with BytesIO(fetch(path)) if fetch else open(path, 'rb') as stream, Image.open(stream) as file:
            return shown(file)
    except Exception as error:  # decoders raise whatever they come upon in a damaged file
        raise ValueError(f'image {str(path)!r} cannot be read whole: {reason(error)}') from error


def reason(error: Exception) -> str:
    """Why a file cannot be read, without its name, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return 'Pillow finds no image in it'
    text = getattr(error, 'strerror', None) or str(error) or type(error).__name__
    return ' '.join(text.split()).rstrip('.')


def shown(file: Image.Image) -> Image.Image:
    """The first frame of an open file as an RGB image of its own; raises whatever its decoder raises."""
    coding = coding_of(file)
    file.load()
    if 0 in file.size:
        raise ValueError('it has no pixels')
    try:
        ImageOps.exif_transpose(file, in_place=True)
    except MemoryError:
        raise
    except Exception:  # a camera's notes that are damaged cost no picture; that they cannot be rewritten, nothing
        pass
    if file.mode[0] in 'IF':
        return of_numbers(file, coding)
    if file.mode == 'La':
        file = file.convert('LA')  # Pillow goes to RGBA from there alone
    if not file.has_transparency_data:
        return file.convert('RGB')
    set_key(file, coding)
    return over_background(file.convert('RGBA'))


def coding_of(file: Image.Image) -> str | None:
    """What Pillow calls the coding of the pixels, as in `RGB;16B`; known before they are decoded."""
    args = file.tile[0][3] if getattr(file, 'tile', None) else None
    coding = args[0] if isinstance(args, tuple) and args else args
    return coding if isinstance(coding, str) else None


def over_background(image: Image.Image) -> Image.Image:
    """An RGBA image without its alpha channel."""
    canvas = Image.new('RGB', image.size, BACKGROUND)
    canvas.paste(image, mask=image)
    return canvas


def set_key(file: Image.Image, coding: str | None) -> None:
    """Bring the one transparent colour of a PNG file to the 8 bits of its decoded pixels, which Pillow does not."""
    key = file.info.get('transparency')
    if coding in ('L;2', 'L;4') and isinstance(key, int):
        file.info['transparency'] = key * 255 // (2 ** int(coding[-1]) - 1)
    elif coding == 'RGB;16B' and isinstance(key, tuple):
        file.info['transparency'] = tuple(value >> 8 for value in key)


def of_numbers(file: Image.Image, coding: str | None) -> Image.Image:
    """An image of one channel with more than 8 bits, or of floating-point numbers."""
    values = np.asarray(file)
    if file.mode == 'I':
        values = values.astype(SIXTEEN if file.format in ('PPM', 'PNG') else KINDS.get(coding, values.dtype))
    grey = levels(values, BITS.get(coding))
    if getattr(file, 'tag_v2', {}).get(PHOTOMETRIC) == WHITE_IS_ZERO:
        grey = 255 - grey  # Pillow sees to it up to 8 bits
    image = Image.fromarray(grey)
    if 'transparency' not in file.info:
        return image.convert('RGB')
    image.putalpha(Image.fromarray(levels(values != file.info['transparency'])))
    return over_background(image.convert('RGBA'))


def levels(values: np.ndarray, bits: int | None = None) -> np.ndarray:
    """Numbers of any kind as uint8 of the same shape, 0 for black to 255 for white.

    White is True, or the greatest number of 8 or 16 bits without a sign. Of other numbers nobody says which one it is:
    it is the least of 255, 65,535 and, up to 32 bits, their kind's greatest that holds them all, for floating-point
    numbers of 1, 255 and 65,535.

    Args:
        values: The numbers.
        bits: That they have, where these are fewer than those of their kind.

    Raises:
        ValueError: Some are negative or no numbers, or leave their scale open: the greatest is above what one of these
            scales holds, and below twice that.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values * np.uint8(255)
    white = 2 ** (bits or 16) - 1 if values.dtype.newbyteorder('=') == SIXTEEN else white_of(values)
    if white <= 255:
        return np.rint(values * (255 / white)).astype(np.uint8)
    return (values * (256 / (white + 1))).astype(np.uint8)


def white_of(values: np.ndarray) -> int:
    """What white is among numbers whose kind does not say it; see `levels`."""
    kind = values.dtype
    whites = [1, 255, 2**16 - 1]
    if kind.kind in 'iu':
        greatest = np.iinfo(kind).max
        whites = sorted({min(white, greatest) for white in [*whites[1:], *[greatest] * (kind.itemsize <= 4)]})
    low, high = values.min(), values.max()
    found = next((white for white in whites if high < 2 * white), None)
    if not low >= 0 or found is None or high > found:
        scales = ' or '.join(f'0 to {white}' for white in whites)
        raise ValueError(f'its values are from {low:.6g} to {high:.6g}, which is no scale that is known ({scales})')
    return found
