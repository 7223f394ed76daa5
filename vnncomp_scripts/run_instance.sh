#!/usr/bin/env bash
# Decides one instance. Arguments: v1 CATEGORY ONNX VNNLIB RESULTS TIMEOUT (seconds).
# RESULTS gets sat, unsat, unknown, timeout or error on its first line, and after sat the assignment.
# SALVER_SOLVER chooses another embedded solver than hybrid, SALVER_SOLVE the command, SALVER_THREADS its threads.
set -euo pipefail
[ "${1:-}" = v1 ] || { echo "expected v1 as first argument, got '${1:-}'" >&2; exit 1; }
[ $# -ge 6 ] || { echo "expected: v1 CATEGORY ONNX VNNLIB RESULTS TIMEOUT" >&2; exit 1; }
onnx==$3 vnnlib=$4 results=$5 timeout=$6
# A query over several networks names them: [('f', 'a.onnx'), ('g', 'b.onnx')].
case $3 in "["*) onnx=$3 ;; esac
solve=${SALVER_SOLVE:-$(dirname "$(realpath "$0")")/../.venv/bin/salver-solve}

partial=$(mktemp "$results.XXXXXX")
trap 'rm -f "$partial"' EXIT
status=0
"$solve" "${SALVER_SOLVER:-hybrid}" verify "$vnnlib" --network "$onnx" --timeout "$timeout" \
  --threads "${SALVER_THREADS:-$(nproc)}" > "$partial" || status=$?
read -r verdict < "$partial" || verdict=
# What a solver said before it failed is no answer.
[ "$status" -eq 0 ] || verdict=error
case $verdict in
  sat | unsat | unknown) ;;
  timed-out) echo timeout > "$partial" ;;
  *) echo error > "$partial" ;;
esac
mv "$partial" "$results"
exit "$status"
