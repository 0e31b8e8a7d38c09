#!/usr/bin/env bash
# Evaluate on Slurm: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of test.py]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK, GRES (empty on CPUs), SRUN_ARGS and PYTHON change the defaults.
set -euo pipefail
PARTITION=${1:?the partition is missing}
JOB_NAME=${2:?the name of the job is missing}
CONFIG=${3:?the config file is missing}
CHECKPOINT=${4:?the checkpoint is missing}
exec bash "$(dirname "$0")/srun.sh" "$PARTITION" "$JOB_NAME" test.py "$CONFIG" "$CHECKPOINT" "${@:5}"
