#!/usr/bin/env bash
# Evaluate with several processes: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of test.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each. PYTHON chooses the environment.
set -euo pipefail
CONFIG=${1:?the config file is missing}
CHECKPOINT=${2:?the checkpoint is missing}
PROCESSES=${3:?the number of processes is missing}
exec bash "$(dirname "$0")/torchrun.sh" "$PROCESSES" test.py "$CONFIG" "$CHECKPOINT" "${@:4}"
