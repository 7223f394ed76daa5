#!/usr/bin/env bash
# Sets up if needed, generates a suite (default: quick), runs every available solver, prints the leaderboard.
# ./run_all.sh [SUITE] [--solvers a,b] [--timeout S] [--device cpu|cuda] [-j N] [--resume]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/scripts/setup.sh"
SALVER_ROOT=$here exec "$here/.venv/bin/salver" all "$@"
