#!/usr/bin/env bash
# Build src/gliomaseg/assets/report/niivue.js.gz: NiiVue 0.69.0 as one file, without the codecs of Zarr
# (half its size; a report has none), and NIIVUE-LICENSES.txt beside it. Needs node, npm and a registry.
set -euo pipefail
target=$(cd "$(dirname "$0")/../src/gliomaseg/assets/report" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --no-audit --no-fund --silent @niivue/niivue@0.69.0 esbuild@0.25.12
echo 'export default {};' >none.js
echo 'export { Niivue, NVImage } from "@niivue/niivue";' >entry.js
npx esbuild entry.js --bundle --minify --format=iife --global-name=niivue --target=es2020 \
    --alias:numcodecs/{blosc,gzip,lz4,zlib,zstd}=./none.js --legal-comments=none --log-level=warning \
    --outfile=niivue.js
gzip -9 --no-name --stdout niivue.js >"$target/niivue.js.gz"
{
    echo "niivue.js.gz is NiiVue 0.69.0 with the parts of it below, bundled by tools/niivue.sh."
    echo
    echo "==== @niivue/niivue (https://github.com/niivue/niivue)"
    cat <<'LICENCE'
BSD 2-Clause License

Copyright (c) 2021, Niivue
All rights reserved.

Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this
   list of conditions and the following disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice,
   this list of conditions and the following disclaimer in the documentation
   and/or other materials provided with the distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS"
AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE
FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER
CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY,
OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
LICENCE
    for part in zarrita @zarrita/storage fflate gl-matrix nifti-reader-js @ungap/structured-clone @lukeed/uuid array-equal; do
        printf '\n==== %s\n' "$part"
        cat "node_modules/$part"/[Ll][Ii][Cc][Ee][Nn][SsCc][Ee]*
    done
} >"$target/NIIVUE-LICENSES.txt"
ls -l "$target/niivue.js.gz" "$target/NIIVUE-LICENSES.txt"
