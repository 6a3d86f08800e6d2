#!/usr/bin/env bash
# Runs every fuzz target of a build folder for so many seconds, from the lines and files of data/ and
# from what earlier runs found worth keeping. Stops at a finding: an input that crashes a target, or
# keeps it busy for 2 minutes, is left in findings/ of the build folder, and as its argument repeats
# it. (A sweep of a million cases, the largest, takes 4 GB and a good part of a minute here.)
set -euo pipefail
build=$1 seconds=$2

seeds=$build/seeds
rm -rf "$seeds"
mkdir -p "$seeds"/{line,file} "$build/findings"
sed -n 's/ *|.*//; /^[a-z]/p' data/*.cases | split -l 1 -a 4 - "$seeds/line/"
cp data/*.cases "$seeds/file"

fuzz() {
  local target=$1
  echo "fuzz_$target for $seconds s"
  mkdir -p "$build/corpus/$target"
  "$build/fuzz_$target" -max_total_time="$seconds" -timeout=120 -rss_limit_mb=6000 -verbosity=0 -print_funcs=0 -print_final_stats=1 \
    -artifact_prefix="$build/findings/$target-" "$build/corpus/$target" "$seeds/$2"
}
fuzz case_line line
fuzz case_file file
fuzz fixture line
