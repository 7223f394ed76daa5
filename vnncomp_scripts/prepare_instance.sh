#!/usr/bin/env bash
# Makes sure that an instance can be run. Arguments: v1 CATEGORY ONNX VNNLIB.
# Nothing is left to prepare and nothing of an earlier run to end: salver-solve ends all its processes itself.
set -euo pipefail
[ "${1:-}" = v1 ] || { echo "expected v1 as first argument, got '${1:-}'" >&2; exit 1; }
[ $# -ge 4 ] || { echo "expected: v1 CATEGORY ONNX VNNLIB" >&2; exit 1; }
for file in "$3" "$4"; do
  [ -r "$file" ] || { echo "cannot read $file" >&2; exit 1; }
done
