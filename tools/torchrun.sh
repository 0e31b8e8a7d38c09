#!/usr/bin/env bash
# What dist_train.sh and dist_test.sh share: tools/torchrun.sh PROCESSES PROGRAM [arguments of the program]
set -euo pipefail
PROCESSES=$1
PROGRAM=$2
THREADS=$(($(nproc) / PROCESSES))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((THREADS > 1 ? THREADS : 1))}
exec "${PYTHON:-python}" -m torch.distributed.run --nproc_per_node="$PROCESSES" \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/$PROGRAM" "${@:3}" --launcher pytorch
