#!/usr/bin/env bash
# Train with several processes: tools/dist_train.sh CONFIG PROCESSES [options of train.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each. PYTHON chooses the environment.
set -euo pipefail
CONFIG=${1:?the config file is missing}
PROCESSES=${2:?the number of processes is missing}
exec bash "$(dirname "$0")/torchrun.sh" "$PROCESSES" train.py "$CONFIG" "${@:3}"
