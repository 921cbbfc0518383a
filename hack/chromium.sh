#!/usr/bin/env bash
# Chromium and its driver, for the test of the twin's page; does nothing where they are.
# Installs them as root on Debian and what derives from it; elsewhere it says what is missing.
set -euo pipefail

for command in chromium chromedriver; do
  command -v "$command" >/dev/null || missing=$command
done
[ -n "${missing:-}" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "hack/chromium.sh: there is no $missing on PATH: apt install chromium chromium-driver" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null
