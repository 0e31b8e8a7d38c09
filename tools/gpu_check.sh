#!/usr/bin/env bash
# On a machine with a GPU: the tests for it, then images/s of training steps and of inference, as a table at the end.
# Usage: tools/gpu_check.sh [OPTIONS OF PYTEST]; about two and a half minutes on an H100. PYTHON, DEVICE and BATCH change what it runs with.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3} device=${DEVICE:-cuda} batch=${BATCH:-512}
table=$(mktemp)
trap 'rm -f "$table"' EXIT

"$python" -m pytest -q tests/test_gpu.py "$@"
tested=$?

speed() { # its arguments are those of the benchmark
    "$python" -m ranet benchmark "$@" --device "$device" --batch-size "$batch" --channels-last --rounds 3 | tee -a "$table"
}
speed attention56_cifar attention92_cifar --train --dtype bfloat16
speed attention56_cifar attention92_cifar --train --dtype bfloat16 --compile
speed attention92_cifar --train --dtype bfloat16 --options compat=tengshaofeng
speed attention56_cifar --train
speed attention56_cifar attention92_cifar --dtype bfloat16
printf '\n=== images/s\n'
cat "$table"
exit "$tested"
