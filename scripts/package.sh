#!/bin/sh
# Builds wheel and sdist, and tries both: each is installed in a clean environment and renders a shipped template.
set -eu
cd "$(dirname "$0")/.."
rm -rf dist/*.whl dist/*.tar.gz build/package
.venv/bin/python -m build --outdir dist . >/dev/null
mkdir -p build/package
for package in dist/*.whl dist/*.tar.gz; do
    rm -rf build/package/env
    .venv/bin/python -m venv build/package/env
    build/package/env/bin/pip install --quiet "$package"
    version=$(build/package/env/bin/ctemplate -version)
    printf '{%% include "nginx.conf.j2" %%}\n' >build/package/site.j2
    build/package/env/bin/ctemplate -dry -catalog examples/nginx/catalog.yaml -template build/package/site.j2 |
        grep -q upstream || { echo "package: $package renders no upstream" >&2; exit 1; }
    echo "package: $package: $version"
done
