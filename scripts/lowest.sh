#!/bin/sh
# Runs the unit tests with the oldest version of each package that pyproject.toml allows, in an environment of its own.
set -eu
cd "$(dirname "$0")/.."
env=build/lowest
rm -rf "$env"
"${PYTHON:-python3}" -m venv "$env"
"$env/bin/python" - >"$env/constraints.txt" <<'END'
import re, tomllib
for bound in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]:
    print(re.sub(r"^([\w.-]+)>=([\w.]+).*$", r"\1==\2", bound))
END
"$env/bin/pip" install --quiet --editable ".[test]" --constraint "$env/constraints.txt"
"$env/bin/python" -m pytest -n "${WORKERS:-3}" --dist worksteal --ignore tests/integration "$@"
