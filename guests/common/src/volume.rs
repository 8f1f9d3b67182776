//! What a guest does with files, by Rust's standard library (WASI 0.2): one thing per request, and what came of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::Target;

/// Does what `do=` says; the error is its kind by name.
pub fn act(target: &Target) -> Result<String, String> {
    let (path, to) = (target.text("path").unwrap_or_default(), target.text("to").unwrap_or_default());
    let number = |name: &str| target.number(name, 0);
    let done = match target.text("do").unwrap_or_default() {
        "read" => fs::read(path).map(|content| String::from_utf8_lossy(&content).into_owned()),
        "say" => fs::write(path, target.text("text").unwrap_or_default()).map(|()| "written".to_owned()),
        "write" => return write(open(path, false), number("bytes")),
        "append" => return write(open(path, true), number("bytes")),
        "write-at" => write_at(path, number("offset")).map(|()| "written".to_owned()),
        "resize" => open(path, true).and_then(|file| file.set_len(number("bytes"))).map(|()| "resized".to_owned()),
        "size" => fs::symlink_metadata(path).map(|meta| meta.len().to_string()),
        "list" => list(path),
        "mkdir" => fs::create_dir(path).map(|()| "made".to_owned()),
        "rmdir" => fs::remove_dir(path).map(|()| "removed".to_owned()),
        "remove" => fs::remove_file(path).map(|()| "removed".to_owned()),
        "rename" => fs::rename(path, to).map(|()| "renamed".to_owned()),
        "link" => fs::hard_link(path, to).map(|()| "linked".to_owned()),
        "symlink" => symlink(path, to).map(|()| "linked".to_owned()),
        "many" => many(path, number("files")),
        "orphans" => return orphans(path, number("files"), number("bytes")),
        other => return Err(format!("do={other} is nothing to do")),
    };
    done.map_err(|error| kind(&error))
}

fn kind(error: &io::Error) -> String {
    format!("{:?}", error.kind())
}

fn open(path: &str, append: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    if append { options.append(true) } else { options.write(true).truncate(true) }.create(true).open(path)
}

/// Writes so many bytes, some at a time.
fn write(file: io::Result<File>, bytes: u64) -> Result<String, String> {
    let mut file = file.map_err(|error| kind(&error))?;
    let chunk = vec![b'x'; 64 << 10];
    let mut written = 0;
    while written < bytes {
        let next = usize::try_from(bytes - written).unwrap_or(usize::MAX).min(chunk.len());
        match file.write(&chunk[..next]) {
            Ok(count) => written += count as u64,
            Err(error) => return Err(format!("{} after {written}", kind(&error))),
        }
    }
    Ok(format!("wrote {written}"))
}

fn write_at(path: &str, offset: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(b"here")
}

/// Names in a folder, sorted.
fn list(path: &str) -> io::Result<String> {
    let mut names: Vec<String> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<_>>()?;
    names.sort();
    Ok(names.join(" "))
}

#[expect(deprecated, reason = "the only one that the standard library has for all systems")]
fn symlink(to: &str, path: &str) -> io::Result<()> {
    fs::soft_link(to, path)
}

/// Makes files until so many are there or no more may be; how many.
fn many(path: &str, files: u64) -> io::Result<String> {
    for number in 0..files {
        if let Err(error) = File::create(Path::new(path).join(number.to_string())) {
            return Ok(format!("{number} then {}", kind(&error)));
        }
    }
    Ok(format!("{files}"))
}

/// Fills files, each removed and kept open before the next; then lets them go and fills one more.
fn orphans(path: &str, files: u64, bytes: u64) -> Result<String, String> {
    let mut kept = Vec::new();
    let failed = |error: io::Error| kind(&error);
    for number in 0..files {
        let name = Path::new(path).join(format!("orphan-{number}"));
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&name).map_err(failed)?;
        let written = file.write_all(&vec![b'x'; usize::try_from(bytes).unwrap_or(0)]);
        fs::remove_file(&name).map_err(failed)?;
        if let Err(error) = written {
            let mut read = Vec::new();
            kept.first_mut()
                .map_or(Ok(0), |first: &mut File| first.rewind().and_then(|()| first.read_to_end(&mut read)))
                .map_err(failed)?;
            drop((file, kept));
            let again = write(open(&name.to_string_lossy(), false), bytes);
            return Ok(format!("{} at {number}, {} read, then {again:?}", kind(&error), read.len()));
        }
        kept.push(file);
    }
    Ok(format!("kept {files}"))
}
