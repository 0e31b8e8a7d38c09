#!/usr/bin/env bash
# What slurm_train.sh and slurm_test.sh share: tools/srun.sh PARTITION JOB_NAME PROGRAM [arguments of the program]
set -euo pipefail
PARTITION=$1
JOB_NAME=$2
PROGRAM=$3
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
GRES=${GRES-gpu:$GPUS_PER_NODE}
# shellcheck disable=SC2086  # SRUN_ARGS holds several arguments
exec srun --partition="$PARTITION" --job-name="$JOB_NAME" ${GRES:+--gres="$GRES"} \
    --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE" --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$(dirname "$0")/$PROGRAM" "${@:4}" --launcher slurm
