#!/usr/bin/env bash
# Speed of the solvers' parts against the stored baselines (docs/bench.md). --update stores new ones; other
# arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
storage=(--benchmark-enable --benchmark-storage=file://./tests/perf/baselines)
columns=(--benchmark-columns=min,median,iqr,rounds --benchmark-group-by=fullname)
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
if [ "${1:-}" = --update ]; then
  shift
  find tests/perf/baselines -name '*_baseline.json' -delete 2>/dev/null || true
  exec .venv/bin/python -m pytest -n 0 tests/perf "${storage[@]}" "${columns[@]}" --benchmark-save=baseline "$@"
fi
exec .venv/bin/python -m pytest -n 0 tests/perf "${storage[@]}" "${columns[@]}" --benchmark-compare "$@"
