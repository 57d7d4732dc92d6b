#!/bin/sh
# What some tests need beyond Python: npm packages (ignored by git), promtool, and a Chromium for the status page.
set -eu
for tool in promtool:prometheus chromium:chromium; do
    if ! command -v "${tool%:*}" >/dev/null 2>&1; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
            apt-get update -qq && apt-get install -qq -y --no-install-recommends "${tool#*:}"
        else
            echo "${tool%:*} is not installed: tests that need it will be skipped" >&2
        fi
    fi
done
cd "$(dirname "$0")"
for folder in clients/node browser/node; do
    (cd "$folder" && npm install --no-audit --no-fund --no-package-lock --loglevel=error)
done
