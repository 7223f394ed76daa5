#!/usr/bin/env bash
# Whether the solvers on CUDA answer as on the CPU, and how much sooner: one call, under eight minutes (docs/bench.md).
# Usage: scripts/gpu_check.sh [PYTHON], an interpreter that has salver's packages and a torch with CUDA; without it
# .venv is set up. Status: 0 all agree, 1 contradictions, 2 it could not be set up, 3 no CUDA device.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
[ $# -gt 0 ] || scripts/setup.sh
command -v "$python" >/dev/null || { echo "gpu_check: no interpreter $python" >&2; exit 2; }
PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m experiments.gpu.check
