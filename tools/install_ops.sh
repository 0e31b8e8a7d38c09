#!/usr/bin/env bash
# Install mmcv with its compiled operators, which detection needs: built once for each version of torch, then kept.
# Usage: tools/install_ops.sh [PYTHON]; needs a C++ compiler, and a quarter of an hour on two cores the first time.
set -euo pipefail
python=${1:-python}
version=$("$python" -c 'from importlib.metadata import version; print(version("onedl-mmcv"))')
build=$("$python" -c 'import sys, torch; print(f"torch{torch.__version__}-cp{sys.version_info[0]}{sys.version_info[1]}")')
wheels=${XDG_CACHE_HOME:-$HOME/.cache}/ranet_mm/onedl_mmcv-$version-$build

if ! ls "$wheels"/*.whl >/dev/null 2>&1; then
    "$python" -m pip install --quiet wheel 'setuptools>=77,<81' ninja click psutil
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    # Little is gained by -O3 here: reading PyTorch's headers is most of the work, and the operators are few.
    CFLAGS="${CFLAGS:--O1 -g0}" MMCV_WITH_OPS=1 MAX_JOBS=${MAX_JOBS:-$(nproc)} "$python" -m pip wheel --quiet \
        --no-build-isolation --no-cache-dir --no-deps --no-binary onedl-mmcv --wheel-dir "$scratch" "onedl-mmcv==$version"
    mkdir -p "$wheels"
    mv "$scratch"/*.whl "$wheels"
fi
"$python" -m pip install --quiet --force-reinstall --no-deps "$wheels"/*.whl
"$python" -c 'import mmcv.ops' && echo "mmcv $version with compiled operators is installed"
