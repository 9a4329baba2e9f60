#!/bin/sh
# Plain shell: wait for a staging overlay, keep the reports, compare with the last good run, and say what to do.
set -u
reports=${1:-reports}
mkdir -p "$reports"
baseline=$reports/last-good.json

if [ -f "$baseline" ]; then set -- --baseline "$baseline"; else set --; fi
preflight all --wait 120 --output text --output "html=$reports/report.html" --output "json=$reports/report.json" \
  --output "junit=$reports/junit.xml" "$@"
code=$?

case $code in
  0) cp "$reports/report.json" "$baseline" ;;
  1) echo "something failed, or got worse: see $reports/report.html" >&2 ;;
  2) echo "nothing was run: the settings or the command line are wrong" >&2 ;;
  3) echo "something could not be decided; --allow-inconclusive accepts that" >&2 ;;
  4) echo "a check of ours broke: please send $reports/report.json" >&2 ;;
  130) echo "interrupted; what had finished is in $reports" >&2 ;;
esac
exit "$code"
