//! `wasi:filesystem` of WASI 0.3, likewise: calls that wait by themselves, and streams that end with an outcome.

mod streams;

use std::io;

use rustix::io::Errno;
use tokio::sync::oneshot;
use wasmtime::component::{Accessor, FutureReader, Linker, LinkerInstance, Resource, ResourceType, StreamReader};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p3::bindings::filesystem::types::{DescriptorFlags, DirectoryEntry, ErrorCode, OpenFlags, PathFlags};

use self::streams::{Entries, Outcome, Reading, Writing};
use super::calls::{self, Folder, Held};
use super::handles;
use super::tree::{How, Location};
use crate::guest::Guest;
use crate::member::Seat;

type Answer<T> = (Result<T, ErrorCode>,);

fn answer<T>(result: io::Result<T>) -> wasmtime::Result<Answer<T>> {
    Ok((result.map_err(|error| code(&error)),))
}

fn code(error: &io::Error) -> ErrorCode {
    if error.raw_os_error() == Some(Errno::XDEV.raw_os_error()) { ErrorCode::CrossDevice } else { ErrorCode::from(error) }
}

/// What came of trying; an error is the call's answer.
macro_rules! tried {
    ($tried:expr) => {
        match $tried {
            Ok(done) => done,
            Err(error) => return answer(Err(error)),
        }
    };
}

/// The folder or file of a descriptor; what is wrong with it is the call's answer, likewise.
macro_rules! found {
    ($found:expr) => {
        tried!($found?)
    };
}

/// Links what the member at `seat` was given, and, once for all members, what is done with it.
pub(crate) fn link(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
    linker
        .instance(&seat.import("wasi:filesystem/preopens@0.3.0"))?
        .func_wrap("get-directories", move |mut store: StoreContextMut<'_, Guest>, (): ()| {
            Ok((handles::preopens(store.data_mut(), seat)?,))
        })?;
    if seat == Seat::ROOT {
        let mut types = linker.instance("wasi:filesystem/types@0.3.0")?;
        types.resource("descriptor", ResourceType::host::<Descriptor>(), |mut store, rep| handles::close(store.data_mut(), rep))?;
        link_opening(&mut types)?;
        link_names(&mut types)?;
        link_pairs(&mut types)?;
        link_reading(&mut types)?;
        link_writing(&mut types)?;
        link_listing(&mut types)?;
    }
    Ok(())
}

fn folder(accessor: &Accessor<Guest>, at: &Resource<Descriptor>) -> wasmtime::Result<io::Result<Folder>> {
    accessor.with(|mut store| calls::folder(store.get(), at))
}

fn how(path: PathFlags, open: OpenFlags, flags: DescriptorFlags) -> io::Result<How> {
    let synced = DescriptorFlags::FILE_INTEGRITY_SYNC | DescriptorFlags::DATA_INTEGRITY_SYNC | DescriptorFlags::REQUESTED_WRITE_SYNC;
    if flags.intersects(synced) {
        return Err(Errno::NOTSUP.into());
    }
    Ok(How {
        follow: path.contains(PathFlags::SYMLINK_FOLLOW),
        create: open.contains(OpenFlags::CREATE),
        exclusive: open.contains(OpenFlags::EXCLUSIVE),
        truncate: open.contains(OpenFlags::TRUNCATE),
        directory: open.contains(OpenFlags::DIRECTORY),
        read: flags.contains(DescriptorFlags::READ),
        write: flags.contains(DescriptorFlags::WRITE),
    })
}

fn link_opening(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Open = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);
    types.func_wrap_concurrent("[method]descriptor.open-at", |accessor: &Accessor<Guest>, (at, follow, path, open, flags): Open| {
        Box::pin(async move {
            let folder = found!(folder(accessor, &at));
            let how = tried!(how(follow, open, flags));
            let permit = tried!(accessor.with(|mut store| folder.permit(store.get())));
            let opened = tried!(folder.open(permit, path, how).await);
            answer(Ok(accessor.with(|mut store| opened.enter(store.get()))?))
        })
    })
}

fn link_names(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type At = (Resource<Descriptor>, String);
    types.func_wrap_concurrent("[method]descriptor.create-directory-at", |accessor: &Accessor<Guest>, (at, path): At| {
        Box::pin(async move { answer(found!(folder(accessor, &at)).create_dir(path).await) })
    })?;
    types.func_wrap_concurrent("[method]descriptor.remove-directory-at", |accessor: &Accessor<Guest>, (at, path): At| {
        Box::pin(async move { answer(found!(folder(accessor, &at)).remove_dir(path).await) })
    })?;
    types.func_wrap_concurrent("[method]descriptor.unlink-file-at", |accessor: &Accessor<Guest>, (at, path): At| {
        Box::pin(async move { answer(found!(folder(accessor, &at)).remove_file(path).await) })
    })
}

fn link_pairs(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Symlink = (Resource<Descriptor>, String, String);
    types.func_wrap_concurrent("[method]descriptor.symlink-at", |accessor: &Accessor<Guest>, (at, to, path): Symlink| {
        Box::pin(async move { answer(found!(folder(accessor, &at)).symlink(to, path).await) })
    })?;
    type Link = (Resource<Descriptor>, PathFlags, String, Resource<Descriptor>, String);
    types.func_wrap_concurrent("[method]descriptor.link-at", |accessor: &Accessor<Guest>, (at, follow, path, to, new): Link| {
        Box::pin(async move {
            let (from, to) = (found!(folder(accessor, &at)), found!(folder(accessor, &to)));
            answer(from.hard_link(follow.contains(PathFlags::SYMLINK_FOLLOW), path, to, new).await)
        })
    })?;
    type Rename = (Resource<Descriptor>, String, Resource<Descriptor>, String);
    types.func_wrap_concurrent("[method]descriptor.rename-at", |accessor: &Accessor<Guest>, (at, path, to, new): Rename| {
        Box::pin(async move {
            let (from, to) = (found!(folder(accessor, &at)), found!(folder(accessor, &to)));
            answer(from.rename(path, to, new).await)
        })
    })
}

fn link_reading(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type At = (Resource<Descriptor>, u64);
    type Bytes = (StreamReader<u8>, FutureReader<Outcome>);
    types.func_wrap("[method]descriptor.read-via-stream", |mut store: StoreContextMut<'_, Guest>, (file, offset): At| {
        let read: Bytes = match calls::readable(store.data(), &file)? {
            Ok(file) => {
                let (told, outcome) = oneshot::channel();
                (StreamReader::new(&mut store, Reading::new(file, offset, told))?, FutureReader::new(&mut store, outcome)?)
            }
            Err(error) => (StreamReader::new(&mut store, std::iter::empty())?, failed(&mut store, &error)?),
        };
        Ok((read,))
    })
}

fn link_writing(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Sized = (Resource<Descriptor>, u64);
    types.func_wrap_concurrent("[method]descriptor.set-size", |accessor: &Accessor<Guest>, (file, size): Sized| {
        Box::pin(async move {
            let file = found!(accessor.with(|mut store| calls::writable(store.get(), &file)));
            answer(file.set_size(size).await)
        })
    })?;
    type Write = (Resource<Descriptor>, StreamReader<u8>, u64);
    types.func_wrap("[method]descriptor.write-via-stream", |mut store: StoreContextMut<'_, Guest>, (file, bytes, offset): Write| {
        let file = calls::writable(store.data(), &file)?;
        Ok((write(&mut store, file, bytes, Location::Offset(offset))?,))
    })?;
    type Append = (Resource<Descriptor>, StreamReader<u8>);
    types.func_wrap("[method]descriptor.append-via-stream", |mut store: StoreContextMut<'_, Guest>, (file, bytes): Append| {
        let file = calls::writable(store.data(), &file)?;
        Ok((write(&mut store, file, bytes, Location::End)?,))
    })
}

/// Writes what comes of `bytes`; how that ended is known when it has.
fn write(
    mut store: &mut StoreContextMut<'_, Guest>,
    file: io::Result<Held>,
    mut bytes: StreamReader<u8>,
    to: Location,
) -> wasmtime::Result<FutureReader<Outcome>> {
    match file {
        Ok(file) => {
            let (told, outcome) = oneshot::channel();
            bytes.pipe(&mut store, Writing::new(file, to, told))?;
            FutureReader::new(&mut store, outcome)
        }
        Err(error) => {
            bytes.close(&mut store)?;
            failed(store, &error)
        }
    }
}

/// An outcome that was known before there was a stream.
fn failed(store: impl AsContextMut<Data = Guest>, error: &io::Error) -> wasmtime::Result<FutureReader<Outcome>> {
    let code = code(error);
    FutureReader::new(store, async move { wasmtime::error::Ok(Err(code)) })
}

fn link_listing(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Listed = (StreamReader<DirectoryEntry>, FutureReader<Outcome>);
    types.func_wrap("[method]descriptor.read-directory", |mut store: StoreContextMut<'_, Guest>, (at,): (Resource<Descriptor>,)| {
        let listing =
            calls::folder(store.data(), &at)?.and_then(|folder| folder.permit(store.data_mut()).map(|permit| folder.list(permit)));
        let listed: Listed = match listing {
            Ok(listing) => {
                let (told, outcome) = oneshot::channel();
                (StreamReader::new(&mut store, Entries::new(listing, told))?, FutureReader::new(&mut store, outcome)?)
            }
            Err(error) => (StreamReader::new(&mut store, std::iter::empty())?, failed(&mut store, &error)?),
        };
        Ok((listed,))
    })
}
