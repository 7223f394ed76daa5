#!/usr/bin/env bash
# The way of somebody with a solver of their own, timed: new-runner, test-runner, run, report.
# Usage: scripts/newcomer.sh [SUITE [QUERIES]]; the environment must be set up. The runner is removed at the end.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
suite=${1:-bandit}
queries=${2:-12}
name=newcomer-$$
runners=${SALVER_ROOT:-$here}/runners
salver() { (cd "${SALVER_ROOT:-$here}" && "${SALVER_PYTHON_BIN:-$here/.venv/bin/python}" -m salver.cli "$@"); }

trap 'rm -f "$runners/${name//-/_}.py"' EXIT
started=$SECONDS
step() {
  local since=$SECONDS
  echo "\$ salver $*"
  salver "$@"
  echo "  ($((SECONDS - since)) s)"
}
step new-runner "$name"
step test-runner "$name" --suite "$suite" --count "$queries"
step run "$suite" --solvers "$name"
step report latest
echo "from nothing to the leaderboard: $((SECONDS - started)) s"
