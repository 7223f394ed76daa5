#!/usr/bin/env bash
# Makes .venv with the exact pins of requirements.lock. Safe to run again: it does nothing when up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "setup: $*" >&2; exit 2; }

python=""
for candidate in "${SALVER_PYTHON:-}" python3.11 python3 python3.12 python3.13; do
  [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
[ -n "$python" ] || fail "needs Python 3.11 or newer (3.11 for Marabou); install it or set SALVER_PYTHON"

wanted=$(cat requirements.lock pyproject.toml scripts/setup.sh | sha256sum | cut -d' ' -f1)
[ "$(cat .venv/.salver-setup 2>/dev/null || true)" = "$wanted" ] && exit 0

started=$SECONDS
say() { echo "setup: $*" >&2; }

# One line for each large file that arrives, on a terminal and on a pipe; errors of pip are passed on as they are.
large=' \(([0-9]{2,}(\.[0-9]+)? MB|[0-9.]+ GB)\)$'
show() {
  local line
  while IFS= read -r line; do
    case $line in *Downloading\ *|*"Using cached "*) ;; *) continue ;; esac
    [[ $line =~ $large ]] || continue
    line=${line##*Downloading }
    line=${line##*Using cached }
    say "  ${line##*/}"
  done
}
# Errors go round `show`, and are all there before the next line of this script is printed.
pip() {
  { PYTHONUNBUFFERED=1 .venv/bin/python -m pip install --disable-pip-version-check --progress-bar off "$@" \
      2>&1 >&3 | sed '/^WARNING: Location/d' >&2; } 3>&1 | show
}

say "installs salver into .venv: 2.1 GB on disk, a few minutes the first time"
if [ ! -x .venv/bin/python ]; then
  say "1 of 4: a virtual environment of $("$python" --version 2>&1)"
  "$python" -m venv .venv || fail "cannot make .venv; is the venv module installed?"
fi

# torch first, by its exact pin: an open range may pull a build of several gigabytes. The rest comes
# without dependency resolution, since auto-LiRPA's metadata asks for a torch it does not need.
torch=$(grep '^torch==' requirements.lock)
say "2 of 4: ${torch/==/ }, 0.7 GB on disk"
.venv/bin/python -c "import sys, importlib.metadata as m; sys.exit(m.version('torch').split('+')[0] != '${torch#torch==}')" \
  2>/dev/null || pip "$torch" || fail "could not install $torch"
grep -v '^torch==' requirements.lock > .venv/requirements.txt
say "3 of 4: $(grep -c '==' .venv/requirements.txt) packages, 1.4 GB on disk"
pip --no-deps -r .venv/requirements.txt || fail "could not install the pinned packages"
say "4 of 4: salver itself"
pip --no-deps -e . || fail "could not install salver itself"
echo "$wanted" > .venv/.salver-setup
say "done in $((SECONDS - started)) s"
