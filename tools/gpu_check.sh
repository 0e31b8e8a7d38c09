#!/usr/bin/env bash
# On a machine with a GPU: the tests for it, then images/s of every form, in tables at the end and in records for results/speed.
# Usage: tools/gpu_check.sh [OPTIONS OF PYTEST]; about five minutes on an H100, three of them for the speeds.
# OUT: where the records go (work_dirs/speed). TESTS=no: speeds alone. PORT=FILE.py:CALLABLE: a model for 32 px beside ours.
# REHEARSE=yes: all of it on a CPU with the smallest sizes, and compiled forms uncompiled. PYTHON, DEVICE and BATCH change what it runs with.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3} device=${DEVICE:-cuda} batch=${BATCH:-256} out=${OUT:-work_dirs/speed}
batches="1 32 $batch" large=$((batch / 4)) depths='56 92 128 164 236 452' narrow=() small=() turns=(--rounds 3 --seconds 0.15)
if [ "${REHEARSE:-no}" = yes ]; then
    export GPU_TESTS_ON=cpu TORCHDYNAMO_DISABLE=1
    device=cpu batch=2 batches='1 2' large=2 depths='56 92' narrow=(--options width=0.0625) small=(--size 32) turns=(--rounds 1 --seconds 0.001)
fi
ours=(attention92_cifar) base='attention92_cifar channels_last'
if [ -n "${PORT:-}" ]; then ours=("port=$PORT" attention92_cifar) base='port channels_last'; fi
mkdir -p "$out"
table=$(mktemp)
trap 'rm -f "$table"' EXIT
failed=0

if [ "${TESTS:-yes}" = yes ]; then "$python" -m pytest -q tests/test_gpu.py "$@" || failed=$?; fi

speed() { # the record's name, then arguments of the benchmark; those that matter most come first, should time run out
    local name=$1
    shift
    "$python" -m ranet benchmark "$@" --device "$device" "${turns[@]}" --json "$out/gpu_$name.json" |
        tee -a "$table" || failed=$?
}
speed forward "${ours[@]}" --size 32 --baseline "$base" "${narrow[@]}" --bound --vary batch_size $batches \
    --forms channels_last channels_last+bfloat16 channels_last+float16 deploy deploy+bfloat16 deploy+float16
speed train "${ours[@]}" --size 32 --baseline "$base" "${narrow[@]}" --bound --profile --train --batch-size "$batch" \
    --forms channels_last channels_last+bfloat16 channels_last+float16 channels_last+bfloat16+compile
speed 224 resnetv2_50 attention56 attention92 resnetv2_101 resnet101 "${small[@]}" --batch-size "$large" \
    --forms channels_last+bfloat16 deploy+bfloat16
speed depth attention56_cifar --vary depth $depths "${narrow[@]}" --batch-size "$batch" --dtype bfloat16 --channels-last
speed compiled attention92_cifar "${narrow[@]}" --bound --batch-size "$batch" \
    --forms channels_last+bfloat16 channels_last+bfloat16+compile deploy+bfloat16+compile
speed 224_train resnetv2_50 attention56 "${small[@]}" --train --batch-size "$large" --forms channels_last+bfloat16
printf '\n=== images/s\n'
cat "$table"
exit "$failed"
