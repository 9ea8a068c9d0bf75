#!/usr/bin/env bash
# Time `make demo` and `make test` on a fresh clone in new environments, and weigh what is installed.
#     bash benchmarks/install.sh            (from the project's root; needs a clean commit)
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
git clone --quiet . "$place/clone"
cd "$place/clone"
start=$(date +%s)
make demo >demo.log 2>&1 || { cat demo.log; exit 1; }
end=$(date +%s)
tail -n 4 demo.log
site=$(.venv/bin/python -c 'import site; print(site.getsitepackages()[0])')
all=$(du -sm .venv | cut -f1)
tools=$(du -smc "$site"/pip "$site"/setuptools 2>/dev/null | tail -1 | cut -f1)
echo "make demo: $((end - start)) s; installed $all MB with pip and setuptools ($tools MB)"
start=$(date +%s)
make VENV=.venv-test test >test.log 2>&1 || { tail -n 40 test.log; exit 1; }
end=$(date +%s)
tail -n 2 test.log
echo "make test, its installation included: $((end - start)) s"
