#!/bin/sh
# What some tests need beyond Python: npm packages (ignored by git), and a Chromium for those of the status page.
set -eu
cd "$(dirname "$0")"
for folder in clients/node browser/node; do
    (cd "$folder" && npm install --no-audit --no-fund --no-package-lock --loglevel=error)
done
if ! command -v chromium >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi
