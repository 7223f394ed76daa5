#!/usr/bin/env bash
# Installs salver for VNN-COMP. Argument: the version string v1.
set -euo pipefail
[ "${1:-}" = v1 ] || { echo "expected v1 as first argument, got '${1:-}'" >&2; exit 1; }
exec "$(dirname "$(realpath "$0")")/../scripts/setup.sh"
