#!/bin/bash
# sanitize_gpu.sh GROUNDSTATE [JOBS]: the tools of compute-sanitizer over the kernels of the quick preset, and over the
# direct step of Mamba-3, which the preset leaves out: CTAs of one sequence and of several, without and with the
# prologue. On a machine with a GPU. A process for each case and tool; logs in reports/sanitize-gpu/. Exit code 1 where
# one has a finding.
set -euo pipefail
export GROUNDSTATE=$1 OUT=reports/sanitize-gpu OMP_NUM_THREADS=1
jobs=${2:-$(nproc)}
direct='mamba3_step H=48 z=random padding=interleaved state_dtype=fp32,bf16 prologue=none,norm'

check() {
  local tool=$1 id=$2 case=$3 log=$OUT/$1-$2.log
  if compute-sanitizer --tool "$tool" --error-exitcode 1 "$GROUNDSTATE" record "$case" --no-contracts --no-isolation \
      --no-pictures --pairs 1 -o "$OUT/$tool-$id.h5" > "$log" 2>&1; then
    echo "clean    $tool  $case"
  else
    echo "FAILED   $tool  $case: see $log"
    return 1
  fi
}
export -f check

rm -rf "$OUT" && mkdir -p "$OUT"
"$GROUNDSTATE" list @data/quick.cases "$direct B=5,40" | while read -r id case; do
  for tool in memcheck racecheck initcheck synccheck; do printf '%s\0%s\0%s\0' $tool "$id" "${case%%  #*}"; done
done > "$OUT/jobs"
xargs -0 -n 3 -P "$jobs" bash -c 'check "$@"' _ < "$OUT/jobs"
echo "compute-sanitizer: no finding in $(($(tr -cd '\0' < "$OUT/jobs" | wc -c) / 3)) runs"
