#!/bin/sh
# What some tests need beyond Python: npm packages, into tests/clients/node/node_modules (ignored by git).
set -eu
cd "$(dirname "$0")/clients/node"
npm install --no-audit --no-fund --no-package-lock --loglevel=error
