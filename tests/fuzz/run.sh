#!/usr/bin/env bash
# run.sh FUZZER CORPUS SECONDS: fuzzes from the saved corpus; what it finds on the way is not saved.
# 0 seconds: runs the corpus and nothing else.
set -euo pipefail
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
cd "$found"
limit=-max_total_time=$3
[[ $3 != 0 ]] || limit=-runs=0
"$1" "$limit" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=1024 -print_final_stats=1 \
  "$found" "$2" 2>fuzz.log || { tail -60 fuzz.log; exit 1; }
grep -E 'stat::number_of_executed_units|DONE|INITED' fuzz.log
