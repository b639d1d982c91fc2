#!/usr/bin/env bash
# Makes src/ingest/tracker/streamgauge.min.js, what pages load, of streamgauge.js beside it. Needs Node.js with npx.
# What it makes is kept in the repository, so only who changes the tracker runs this; a test tells whether the two fit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../src/ingest/tracker"

sum=$(sha256sum streamgauge.js | cut -d ' ' -f 1)
made=$(npx --yes esbuild@0.28.2 --minify --target=es2020 --charset=utf8 <streamgauge.js)
printf '/* Made by scripts/tracker.sh of streamgauge.js, sha256 %s */\n%s\n' "$sum" "$made" >streamgauge.min.js
echo "streamgauge.min.js: $(tail -n +2 streamgauge.min.js | gzip -9 | wc -c) bytes compressed, 2048 are allowed"
