#!/usr/bin/env bash
# Sets everything up and runs the whole test suite: ruff, mypy, the import contract, pytest. Arguments go to pytest:
# `./run_tests.sh -m "not slow"` leaves the slow tests out, `./run_tests.sh tests/core` runs those of one folder.
set -euo pipefail
cd "$(dirname "$0")"
if [ "${SALVER_TEST_SLURM:-}" = 1 ]; then scripts/one_node_slurm.sh install; fi
scripts/setup.sh
if [ $# = 0 ]; then
  echo "run_tests: all tests, about a quarter of an hour on two idle cores; ./run_tests.sh -m 'not slow' is the quick part" >&2
fi
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/lint-imports
.venv/bin/python -m pytest -n 2 "$@"
