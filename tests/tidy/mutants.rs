//! The bugs that `make mutants` plants must still fit the code; else nobody would notice that they are planted no more.

use std::fs;
use std::path::Path;

/// The hunks of a unified diff: each with the lines that it expects in the file.
fn expected(patch: &str) -> Vec<Vec<&str>> {
    let mut hunks: Vec<Vec<&str>> = Vec::new();
    for line in patch.lines() {
        match (line.split_at_checked(1), hunks.last_mut()) {
            (Some(("@", _)), _) => hunks.push(Vec::new()),
            (Some((" " | "-", rest)), Some(hunk)) => hunk.push(rest),
            _ => {}
        }
    }
    hunks
}

fn fits(patch: &str, text: &str) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let hunks = expected(patch);
    !hunks.is_empty() && hunks.iter().all(|hunk| lines.windows(hunk.len()).any(|window| window == hunk.as_slice()))
}

#[test]
fn planted_bugs_fit_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let patches: Vec<_> =
        fs::read_dir(root.join("tests/mutants")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!patches.is_empty());
    for path in patches {
        let patch = fs::read_to_string(&path).unwrap();
        let file = patch.lines().find_map(|line| line.strip_prefix("--- a/")).unwrap();
        let text = fs::read_to_string(root.join(file)).unwrap();
        assert!(fits(&patch, &text), "{} no longer fits {file}: make it anew", path.display());
    }
}

#[test]
fn a_bug_that_does_not_fit_is_noticed() {
    let patch = "--- a/f\n+++ b/f\n@@ -1,3 +1,2 @@\n one\n-two\n three\n";
    assert!(fits(patch, "zero\none\ntwo\nthree\n"));
    assert!(!fits(patch, "one\ntwo and a half\nthree\n"));
}
