#!/usr/bin/env bash
# Everything that can be said of the files without running them.
set -eu
cd "$(dirname "$0")/.."
ruff check --quiet .
ruff format --check --quiet . || { echo "ruff format . would change files"; exit 1; }
python scripts/lint_tests.py tests
check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
zizmor --offline --quiet .github/workflows
