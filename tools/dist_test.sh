#!/usr/bin/env bash
# Evaluates a checkpoint with several processes: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [OPTIONS OF tools/test.py]
# For several machines, set the environment variables NNODES, NODE_RANK, MASTER_ADDR and PORT on each of them.
set -euo pipefail
CONFIG=$1 CHECKPOINT=$2 PROCESSES=$3
"${PYTHON:-python}" -m torch.distributed.run --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" --nproc_per_node="$PROCESSES" \
    "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
