#!/bin/sh
# Fuzzes each parser of the store's bytes, and sums up in build/fuzz/summary what was done.
set -eu
cd "$(dirname "$0")/.."
runs=$1
python=${FUZZ_PYTHON:-$PWD/.venv/bin/python}
"$python" -c 'import atheris' 2> /dev/null \
    || "$python" -m pip install --quiet --disable-pip-version-check 'atheris>=3.0'

export PYTHONPATH="$PWD:$PWD/tests"
work=$PWD/build/fuzz
rm -rf "$work"
mkdir -p "$work"
targets=$("$python" -c 'from fuzz.targets import TARGETS; print(*TARGETS)')
cd "$work"
echo "$(date +%Y-%m-%d) $(git rev-parse --short HEAD), $runs executions each" > summary
for target in $targets; do
    mkdir -p "corpus-$target"
    "$python" -m fuzz.run "$target" -runs="$runs" \
        -max_len=65536 -timeout=30 -rss_limit_mb=2048 "corpus-$target" > "$target.log" 2>&1 \
        || echo "CRASHED: $target, see $target.log" >> summary
    echo "$target: $(grep '^Done' "$target.log" || tail -n 1 "$target.log")" >> summary
done
cat summary
! grep -q '^CRASHED' summary
