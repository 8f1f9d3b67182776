//! What a guest does with files: by the standard library, and by WASI 0.2 itself what that doesn't show.

use guest_common::{Target, error_name, volume};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{DescriptorFlags, ErrorCode, OpenFlags, PathFlags, filesystem_error_code};
use wasip2::io::streams::StreamError;

/// Does what `do=` says; the error by its name.
pub fn act(target: &Target) -> Result<String, String> {
    match target.text("do") {
        Some("stream") => stream(target).map_err(|error| error_name(error.name())),
        Some("outlive") => outlive(target).map_err(|error| error_name(error.name())),
        Some("keep-open") => Ok(keep_open(target)),
        _ => volume::act(target),
    }
}

/// Writes so many bytes through one stream to a file of the first folder. The standard library tells all errors of streams as one.
fn stream(target: &Target) -> Result<String, ErrorCode> {
    let (folder, _) = get_directories().into_iter().next().ok_or(ErrorCode::NoEntry)?;
    let name = target.text("path").unwrap_or_default();
    let file = folder.open_at(PathFlags::empty(), name, OpenFlags::CREATE | OpenFlags::TRUNCATE, DescriptorFlags::WRITE)?;
    let stream = file.write_via_stream(0)?;
    let mut left = usize::try_from(target.number("bytes", 0)).unwrap_or(usize::MAX);
    while left > 0 {
        let next = left.min(4096);
        match stream.blocking_write_and_flush(&vec![b'x'; next]) {
            Ok(()) => left -= next,
            Err(StreamError::LastOperationFailed(error)) => return Err(filesystem_error_code(&error).unwrap_or(ErrorCode::Io)),
            Err(StreamError::Closed) => return Err(ErrorCode::Pipe),
        }
    }
    Ok("wrote all".to_owned())
}

/// Reads the beginning of a file of the first folder through a stream that outlives the file's descriptor.
fn outlive(target: &Target) -> Result<String, ErrorCode> {
    let (folder, _) = get_directories().into_iter().next().ok_or(ErrorCode::NoEntry)?;
    let name = target.text("path").unwrap_or_default();
    let file = folder.open_at(PathFlags::empty(), name, OpenFlags::empty(), DescriptorFlags::READ)?;
    let stream = file.read_via_stream(0)?;
    drop(file);
    let read = stream.blocking_read(1 << 10).map_err(|_| ErrorCode::Io)?;
    Ok(String::from_utf8_lossy(&read).into_owned())
}

/// Opens the first folder until that fails, and once more after closing what is open.
fn keep_open(target: &Target) -> String {
    let Some((folder, _)) = get_directories().into_iter().next() else { return "no folder".to_owned() };
    let open = || folder.open_at(PathFlags::empty(), ".", OpenFlags::DIRECTORY, DescriptorFlags::READ);
    let mut kept = Vec::new();
    for number in 0..target.number("files", 0) {
        match open() {
            Ok(descriptor) => kept.push(descriptor),
            Err(error) => {
                kept.clear();
                return format!("{} at {number}, then {}", error_name(error.name()), open().is_ok());
            }
        }
    }
    format!("kept {}", kept.len())
}
