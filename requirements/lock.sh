#!/bin/sh
# Renews the locks from pyproject.toml, *.in and package.json. Needs uv, node and npm.
# Without an argument versions that still fit are kept; --upgrade takes the newest of all.
set -eu
cd "$(dirname "$0")/.."

compile() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
        --only-binary :all: "$@"
}

compile "$@" pyproject.toml requirements/build.in --extra site --extra android --extra appium \
    --output-file requirements/run.txt
compile "$@" pyproject.toml requirements/build.in --extra site --extra android \
    --extra appium --extra native \
    --constraint requirements/run.txt --output-file requirements/native.txt
compile "$@" pyproject.toml requirements/build.in --extra site --extra android --extra appium \
    --extra worker --extra controller \
    --constraint requirements/native.txt --output-file requirements/fleet.txt
compile "$@" pyproject.toml requirements/build.in --extra dev \
    --constraint requirements/fleet.txt --output-file requirements/dev.txt
compile "$@" requirements/ansible.in --output-file requirements/ansible.txt
compile "$@" requirements/node.in --output-file requirements/node.txt
npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts \
    --no-audit --no-fund --loglevel=error
