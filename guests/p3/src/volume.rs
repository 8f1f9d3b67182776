//! What a guest does with files by WASI 0.3 itself: one thing per request, and what came of it.

use guest_common::{Target, error_name};
use wasip3::filesystem::preopens::get_directories;
use wasip3::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};
use wasip3::wit_stream;

/// Does what `do=` says; the error is its code by name.
pub async fn act(target: &Target) -> Result<String, String> {
    let act = tried(target.text("do").unwrap_or_default(), target).await;
    act.map_err(|error| error_name(&format!("{error:?}")))
}

async fn tried(what: &str, target: &Target) -> Result<String, ErrorCode> {
    let (at, path) = resolve(target.text("path").unwrap_or_default())?;
    let pair = || resolve(target.text("to").unwrap_or_default());
    let done = |()| "done".to_owned();
    match what {
        "read" => read(&open(&at, path, OpenFlags::empty(), DescriptorFlags::READ).await?).await,
        "outlive" => outlive(open(&at, path, OpenFlags::empty(), DescriptorFlags::READ).await?).await,
        "write" => {
            let file = open(&at, path, OpenFlags::CREATE | OpenFlags::TRUNCATE, DescriptorFlags::WRITE).await?;
            write(file, target.number("bytes", 0), false).await
        }
        "append" => write(open(&at, path, OpenFlags::CREATE, DescriptorFlags::WRITE).await?, target.number("bytes", 0), true).await,
        "resize" => {
            let file = open(&at, path, OpenFlags::CREATE, DescriptorFlags::WRITE).await?;
            file.set_size(target.number("bytes", 0)).await.map(done)
        }
        "list" => list(&open(&at, path, OpenFlags::DIRECTORY, DescriptorFlags::READ).await?).await,
        "mkdir" => at.create_directory_at(path.to_owned()).await.map(done),
        "rmdir" => at.remove_directory_at(path.to_owned()).await.map(done),
        "remove" => at.unlink_file_at(path.to_owned()).await.map(done),
        "symlink" => {
            // What the link says isn't resolved here: it is `path` as it was written.
            let (to, name) = pair()?;
            to.symlink_at(target.text("path").unwrap_or_default().to_owned(), name.to_owned()).await.map(done)
        }
        "rename" => {
            let (to, name) = pair()?;
            at.rename_at(path.to_owned(), &to, name.to_owned()).await.map(done)
        }
        "link" => {
            let (to, name) = pair()?;
            at.link_at(PathFlags::empty(), path.to_owned(), &to, name.to_owned()).await.map(done)
        }
        _ => Err(ErrorCode::Unsupported),
    }
}

/// The preopened folder that a path is in, and the rest of the path: unlike the standard library it resolves nothing itself.
fn resolve(path: &str) -> Result<(Descriptor, &str), ErrorCode> {
    let found = get_directories().into_iter().find_map(|(folder, name)| {
        let rest = path.strip_prefix(name.as_str())?;
        Some((folder, if rest.is_empty() { "." } else { rest.strip_prefix('/')? }))
    });
    match found {
        Some(found) => Ok(found),
        // A path that isn't below one of them is tried as it is, below the first.
        None => get_directories().into_iter().next().map(|(folder, _)| (folder, path)).ok_or(ErrorCode::NoEntry),
    }
}

async fn open(at: &Descriptor, path: &str, open: OpenFlags, flags: DescriptorFlags) -> Result<Descriptor, ErrorCode> {
    at.open_at(PathFlags::SYMLINK_FOLLOW, path.to_owned(), open, flags).await
}

async fn read(file: &Descriptor) -> Result<String, ErrorCode> {
    let (bytes, ended) = file.read_via_stream(0);
    let content = bytes.collect().await;
    ended.await?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// Reads through a stream that outlives the descriptor.
async fn outlive(file: Descriptor) -> Result<String, ErrorCode> {
    let (bytes, ended) = file.read_via_stream(0);
    drop(file);
    let content = bytes.collect().await;
    ended.await?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

async fn list(folder: &Descriptor) -> Result<String, ErrorCode> {
    let (entries, ended) = folder.read_directory();
    let mut names: Vec<String> = entries.collect().await.into_iter().map(|entry| entry.name).collect();
    ended.await?;
    names.sort();
    Ok(names.join(" "))
}

/// Writes so many bytes through one stream.
async fn write(file: Descriptor, bytes: u64, append: bool) -> Result<String, ErrorCode> {
    let (mut sink, stream) = wit_stream::new();
    let ended = if append { file.append_via_stream(stream) } else { file.write_via_stream(stream, 0) };
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    while left > 0 {
        let next = left.min(64 << 10);
        if !sink.write_all(vec![b'x'; next]).await.is_empty() {
            break;
        }
        left -= next;
    }
    drop(sink);
    ended.await?;
    Ok(format!("wrote {bytes}"))
}
