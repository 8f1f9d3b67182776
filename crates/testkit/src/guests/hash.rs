//! A hash of files and folders by name and content, the same wherever the repository lies.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Hashes files and folders given relative to `root`, in that order; 32 hex digits.
///
/// # Errors
/// The path that can't be read, and why.
pub fn of(root: &Path, inputs: &[PathBuf]) -> Result<String, (PathBuf, io::Error)> {
    let mut hasher = Sha256::new();
    for input in inputs {
        for file in files(&root.join(input))? {
            let content = fs::read(&file).map_err(|error| (file.clone(), error))?;
            let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
            for part in [name.as_bytes(), &content] {
                // Lengths keep the border between name and content from moving.
                hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
                hasher.update(part);
            }
        }
    }
    let digest = hex::encode(hasher.finalize());
    Ok(digest[..32].to_owned())
}

/// The file itself, or all files below a folder in order of their names; hidden ones and build output aside.
fn files(path: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let failed = |error| (path.to_owned(), error);
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !name.to_string_lossy().starts_with('.') && name != "target" {
            entries.push(path.join(name));
        }
    }
    entries.sort();
    let nested: Result<Vec<_>, _> = entries.iter().map(|entry| files(entry)).collect();
    Ok(nested?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    fn hash(files: &[(&str, &str)]) -> String {
        let dir = tree(files);
        of(dir.path(), &[PathBuf::from("guest")]).unwrap()
    }

    #[test]
    fn equal_trees_hash_equal_wherever_they_lie() {
        let files = [("guest/src/lib.rs", "fn a() {}"), ("guest/Cargo.toml", "[package]")];
        assert_eq!(hash(&files), hash(&files));
    }

    #[test]
    fn a_changed_byte_a_renamed_file_and_a_new_file_change_the_hash() {
        let base = hash(&[("guest/a", "1"), ("guest/b", "2")]);
        assert_ne!(base, hash(&[("guest/a", "1"), ("guest/b", "3")]));
        assert_ne!(base, hash(&[("guest/a", "1"), ("guest/c", "2")]));
        assert_ne!(base, hash(&[("guest/a", "1"), ("guest/b", "2"), ("guest/c", "")]));
    }

    #[test]
    fn build_output_and_hidden_files_do_not_count() {
        let base = hash(&[("guest/a", "1")]);
        assert_eq!(base, hash(&[("guest/a", "1"), ("guest/target/x", "1"), ("guest/.a.swp", "1")]));
    }

    #[test]
    fn a_missing_input_is_named() {
        let dir = tree(&[]);
        let (path, _) = of(dir.path(), &[PathBuf::from("absent")]).unwrap_err();
        assert_eq!(path, dir.path().join("absent"));
    }
}
