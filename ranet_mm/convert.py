"""The old name of `ranet_mm.weights.convert`, for one release."""

import warnings

from .weights.convert import *  # noqa: F403

warnings.warn('ranet_mm.convert is now ranet_mm.weights.convert', FutureWarning, stacklevel=2)
