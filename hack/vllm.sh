#!/usr/bin/env bash
# vLLM on the CPU, without serving anything: the tests ask it what it would allocate.
#
#   hack/vllm.sh find     print the Python that has it
#   hack/vllm.sh install  make sure that there is one, from hack/vllm.txt, in the user's cache
#
# It takes two to four minutes and 2.1 GB of disk. torch must come as its build for CPUs, which PyPI
# does not have: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu finds it.
# KAITO_VLLM_PYTHON names a Python that has vLLM already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/kaito/vllm
LOCK=hack/vllm.txt
PYTHON=${PYTHON:-.venv/bin/python}

fail() { echo "hack/vllm.sh: $*" >&2; exit 1; }

find_python() {
  if [ -n "${KAITO_VLLM_PYTHON:-}" ]; then
    [ -x "$KAITO_VLLM_PYTHON" ] || fail "KAITO_VLLM_PYTHON is not a program: $KAITO_VLLM_PYTHON"
    echo "$KAITO_VLLM_PYTHON"
  else
    # The lock is copied last, once everything in it is installed.
    cmp --silent "$LOCK" "$CACHE/installed.txt" || fail "there is no vLLM: run hack/vllm.sh install"
    echo "$CACHE/bin/python"
  fi
}

install() {
  if (find_python) >/dev/null 2>&1; then
    echo "already there: $(find_python)"
    return
  fi
  [ -z "${KAITO_VLLM_PYTHON:-}" ] || find_python
  echo "Installing vLLM for CPUs into $CACHE, two to four minutes; only the first time"
  "$PYTHON" -m venv --clear "$CACHE"
  # Most modules are never imported, so none is compiled before it is.
  "$CACHE/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --no-cache-dir \
    --no-compile --no-deps -r "$LOCK"
  "$CACHE/bin/python" -c 'import torch; assert torch.version.cuda is None' ||
    fail "torch is not a build for CPUs: set PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu"
  cp "$LOCK" "$CACHE/installed.txt"
  echo "[$SECONDS s] done: $(find_python)"
}

case ${1:-} in
  find) find_python ;;
  install) install ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
esac
