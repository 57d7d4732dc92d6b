#!/bin/sh
# What some tests need beyond Python: npm packages, into tests/clients/node/node_modules (ignored by git), and promtool.
set -eu
if ! command -v promtool >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq && apt-get install -qq -y --no-install-recommends prometheus
    else
        echo "promtool (of Prometheus) is not installed: tests of metrics and alert rules will be skipped" >&2
    fi
fi
cd "$(dirname "$0")/clients/node"
npm install --no-audit --no-fund --no-package-lock --loglevel=error
