#!/usr/bin/env bash
# Sets everything up and runs the whole test suite: ruff, mypy, the import contract, pytest. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")"
if [ "${SALVER_TEST_SLURM:-}" = 1 ]; then scripts/one_node_slurm.sh install; fi
scripts/setup.sh
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/lint-imports
.venv/bin/python -m pytest -n 2 "$@"
