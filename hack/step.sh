#!/usr/bin/env bash
# step.sh TITLE COMMAND…: run a command whose output is of interest only where it fails.
#
# The output goes to build/log/, a line every ten seconds tells how far it is, and the last of it is
# shown where the command fails. All of this on stderr: stdout stays free for the caller's answer.
set -euo pipefail
cd "$(dirname "$0")/.."

title=$1
shift
log=build/log/$(tr -cs '[:alnum:]' - <<<"$title" | sed 's/^-//; s/-$//').log
mkdir -p build/log

echo "  $title" >&2
"$@" >"$log" 2>&1 </dev/null &
command=$!
trap 'kill "$command" 2>/dev/null || true' EXIT

told=0
while kill -0 "$command" 2>/dev/null; do
    sleep 0.2
    ((SECONDS - told < 10)) && continue
    told=$SECONDS
    echo "    $told s: $(tail -n 1 "$log" | tr -cd '[:print:]' | cut -c 1-90)" >&2
done

status=0
wait "$command" || status=$?
if ((status)); then
    echo "  $title: failed with exit status $status. The end of $log:" >&2
    tail -n 40 "$log" >&2
    exit "$status"
fi
echo "    done in $SECONDS s" >&2
