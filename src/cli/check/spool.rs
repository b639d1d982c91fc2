use super::Findings;
use nix::unistd::{AccessFlags, access};
use std::fs::OpenOptions;
use std::path::Path;

/// Whether events could wait in this file. It is not created.
pub(super) fn check(path: &Path, findings: &mut Findings) {
    let file = path.display();
    if path.exists() {
        return match OpenOptions::new().read(true).write(true).open(path) {
            Ok(_) => findings.right(format!("ingest.spool: {file} can be written")),
            Err(error) => findings.wrong(format!("ingest.spool: {file} cannot be written: {error}")),
        };
    }
    // A relative path of one name lies in the folder where the program is.
    let folders = path.ancestors().skip(1);
    let named = |folder: &Path| if folder.as_os_str().is_empty() { Path::new(".").into() } else { folder.to_owned() };
    let Some(folder) = folders.map(named).find(|folder| folder.exists()) else { return };
    match access(&folder, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) if folder.is_dir() => findings.right(format!("ingest.spool: {file} will be created")),
        Ok(()) => findings.wrong(format!("ingest.spool: {file} cannot be created: {} is no folder", folder.display())),
        Err(error) => {
            findings.wrong(format!("ingest.spool: {file} cannot be created in {}: {error}", folder.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &Path) -> (usize, usize) {
        let mut findings = Findings::default();
        check(path, &mut findings);
        (findings.wrong, findings.doubtful)
    }

    #[test]
    fn a_file_that_can_be_made_or_written_is_right_and_nothing_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/spool.db");
        assert_eq!(found(&path), (0, 0));
        assert!(!folder.path().join("a").exists());
        let path = folder.path().join("spool.db");
        std::fs::write(&path, "kept").unwrap();
        assert_eq!(found(&path), (0, 0));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
        assert_eq!(found(Path::new("no-such-spool.db")), (0, 0));
    }

    #[test]
    fn a_folder_or_a_path_through_a_file_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(found(folder.path()), (1, 0));
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert_eq!(found(&folder.path().join("file/spool.db")), (1, 0));
    }
}
