#!/usr/bin/env bash
# Makes sure that an instance can be run. Arguments: v1 CATEGORY ONNX VNNLIB.
# Nothing is left to prepare and nothing of an earlier run to end: salver-solve ends all its processes itself.
set -euo pipefail
[ "${1:-}" = v1 ] || { echo "expected v1 as first argument, got '${1:-}'" >&2; exit 1; }
[ $# -ge 4 ] || { echo "expected: v1 CATEGORY ONNX VNNLIB" >&2; exit 1; }

# The files of ONNX: one path, or those of [('f', 'a.onnx'), ('g', 'b.onnx')], line by line.
networks() {
  case $1 in
    "["*) grep -oE "(\"[^\"]*\"|'[^']*') *[])]" <<< "$1" | sed -E "s/^.//; s/.( *)[])]$//" ;;
    *) printf '%s\n' "$1" ;;
  esac
}

while IFS= read -r file; do
  [ -r "$file" ] || [ -r "$file.gz" ] || { echo "cannot read $file" >&2; exit 1; }
done < <(networks "$3" || printf '%s\n' "$3"; printf '%s\n' "$4")
