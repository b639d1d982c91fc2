#!/usr/bin/env bash
# Plants each bug of tests/mutants in a copy of the tree and fails unless the simulator finds every one of them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A target directory of its own: in a shared one cargo would take a mutant for what it is a copy of.
target=${CARGO_TARGET_DIR:-$PWD/target}/mutants
export CARGO_TARGET_DIR=$target/target
copy=$target/tree
missed=0
for patch in tests/mutants/*.patch; do
  rm -rf "$copy" && mkdir -p "$copy"
  # With the times that the files have, so that only what the patch changes is built.
  git ls-files -z --cached --others --exclude-standard | tar -c --null --files-from=- | tar -x -C "$copy"
  patch --quiet --directory "$copy" -p1 <"$patch"
  # A mutant that does not compile is not found: that ends the script here.
  cargo test --quiet --manifest-path "$copy/Cargo.toml" --lib --no-run
  if told=$(cargo test --quiet --manifest-path "$copy/Cargo.toml" --lib simulation::each_record 2>&1); then
    echo "$(basename "$patch" .patch): NOT FOUND"
    missed=1
  elif seed=$(grep -m 1 '^seed' <<<"$told"); then
    echo "$(basename "$patch" .patch): ${seed:0:120}"
  else
    echo "$(basename "$patch" .patch): NOT FOUND, but the simulator failed:"$'\n'"$told"
    missed=1
  fi
done
exit "$missed"
