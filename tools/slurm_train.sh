#!/usr/bin/env bash
# Train on Slurm: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [options of train.py]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK, GRES (empty on CPUs), SRUN_ARGS and PYTHON change the defaults.
set -euo pipefail
PARTITION=${1:?the partition is missing}
JOB_NAME=${2:?the name of the job is missing}
CONFIG=${3:?the config file is missing}
WORK_DIR=${4:?the work dir is missing}
exec bash "$(dirname "$0")/srun.sh" "$PARTITION" "$JOB_NAME" train.py "$CONFIG" --work-dir "$WORK_DIR" "${@:5}"
