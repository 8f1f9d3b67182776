//! `wasi:filesystem` of WASI 0.2: what opens, changes and lists, and streams. What only looks at a descriptor is the engine's own.

mod streams;

use std::collections::VecDeque;
use std::io;

use rustix::io::Errno;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorFlags, DescriptorType, DirectoryEntry, ErrorCode, OpenFlags, PathFlags};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use self::streams::{Reading, Writing};
use super::calls;
use super::handles;
use super::listing::{Entry, Kind, Listing};
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
        .instance(&seat.import("wasi:filesystem/preopens@0.2.12"))?
        .func_wrap("get-directories", move |mut store: StoreContextMut<'_, Guest>, (): ()| {
            Ok((handles::preopens(store.data_mut(), seat)?,))
        })?;
    if seat == Seat::ROOT {
        let mut types = linker.instance("wasi:filesystem/types@0.2.12")?;
        types.resource("descriptor", ResourceType::host::<Descriptor>(), |mut store, rep| handles::close(store.data_mut(), rep))?;
        link_opening(&mut types)?;
        link_names(&mut types)?;
        link_reading(&mut types)?;
        link_writing(&mut types)?;
        link_listing(&mut types)?;
    }
    Ok(())
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
    types.func_wrap_async("[method]descriptor.open-at", |mut store: StoreContextMut<'_, Guest>, (at, follow, path, open, flags): Open| {
        Box::new(async move {
            let folder = found!(calls::folder(store.data(), &at));
            let how = tried!(how(follow, open, flags));
            let permit = tried!(folder.permit(store.data_mut()));
            let opened = tried!(folder.open(permit, path, how).await);
            answer(Ok(opened.enter(store.data_mut())?))
        })
    })
}

fn link_names(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type At = (Resource<Descriptor>, String);
    types.func_wrap_async("[method]descriptor.create-directory-at", |store: StoreContextMut<'_, Guest>, (at, path): At| {
        Box::new(async move { answer(found!(calls::folder(store.data(), &at)).create_dir(path).await) })
    })?;
    types.func_wrap_async("[method]descriptor.remove-directory-at", |store: StoreContextMut<'_, Guest>, (at, path): At| {
        Box::new(async move { answer(found!(calls::folder(store.data(), &at)).remove_dir(path).await) })
    })?;
    types.func_wrap_async("[method]descriptor.unlink-file-at", |store: StoreContextMut<'_, Guest>, (at, path): At| {
        Box::new(async move { answer(found!(calls::folder(store.data(), &at)).remove_file(path).await) })
    })?;
    type Symlink = (Resource<Descriptor>, String, String);
    types.func_wrap_async("[method]descriptor.symlink-at", |store: StoreContextMut<'_, Guest>, (at, to, path): Symlink| {
        Box::new(async move { answer(found!(calls::folder(store.data(), &at)).symlink(to, path).await) })
    })?;
    type Link = (Resource<Descriptor>, PathFlags, String, Resource<Descriptor>, String);
    types.func_wrap_async("[method]descriptor.link-at", |store: StoreContextMut<'_, Guest>, (at, follow, path, to, new): Link| {
        Box::new(async move {
            let (folder, to) = (found!(calls::folder(store.data(), &at)), found!(calls::folder(store.data(), &to)));
            answer(folder.hard_link(follow.contains(PathFlags::SYMLINK_FOLLOW), path, to, new).await)
        })
    })?;
    type Rename = (Resource<Descriptor>, String, Resource<Descriptor>, String);
    types.func_wrap_async("[method]descriptor.rename-at", |store: StoreContextMut<'_, Guest>, (at, path, to, new): Rename| {
        Box::new(async move {
            let (folder, to) = (found!(calls::folder(store.data(), &at)), found!(calls::folder(store.data(), &to)));
            answer(folder.rename(path, to, new).await)
        })
    })
}

fn link_reading(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type At = (Resource<Descriptor>, u64);
    types.func_wrap("[method]descriptor.read-via-stream", |mut store: StoreContextMut<'_, Guest>, (file, offset): At| {
        let file = found!(calls::readable(store.data(), &file));
        let stream: DynInputStream = Box::new(Reading::new(file, offset));
        answer(Ok(store.data_mut().table.push(stream)?))
    })
}

fn link_writing(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Write = (Resource<Descriptor>, Vec<u8>, u64);
    types.func_wrap_async("[method]descriptor.write", |store: StoreContextMut<'_, Guest>, (file, bytes, offset): Write| {
        Box::new(async move { answer(found!(calls::writable(store.data(), &file)).write(bytes, offset).await) })
    })?;
    type Sized = (Resource<Descriptor>, u64);
    types.func_wrap_async("[method]descriptor.set-size", |store: StoreContextMut<'_, Guest>, (file, size): Sized| {
        Box::new(async move { answer(found!(calls::writable(store.data(), &file)).set_size(size).await) })
    })?;
    types.func_wrap("[method]descriptor.write-via-stream", |mut store: StoreContextMut<'_, Guest>, (file, offset): Sized| {
        let file = found!(calls::writable(store.data(), &file));
        let stream: DynOutputStream = Box::new(Writing::new(file, Location::Offset(offset)));
        answer(Ok(store.data_mut().table.push(stream)?))
    })?;
    types.func_wrap("[method]descriptor.append-via-stream", |mut store: StoreContextMut<'_, Guest>, (file,): (Resource<Descriptor>,)| {
        let file = found!(calls::writable(store.data(), &file));
        let stream: DynOutputStream = Box::new(Writing::new(file, Location::End));
        answer(Ok(store.data_mut().table.push(stream)?))
    })
}

/// The resource `directory-entry-stream`.
struct Entries {
    /// None: it has ended, or somebody waits for it.
    listing: Option<Listing>,
    read: VecDeque<Entry>,
}

fn link_listing(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    types.resource("directory-entry-stream", ResourceType::host::<Entries>(), |mut store, rep| {
        let guest: &mut Guest = store.data_mut();
        guest.table.delete(Resource::<Entries>::new_own(rep))?;
        Ok(())
    })?;
    type At = (Resource<Descriptor>,);
    types.func_wrap_async("[method]descriptor.read-directory", |mut store: StoreContextMut<'_, Guest>, (at,): At| {
        Box::new(async move {
            let folder = found!(calls::folder(store.data(), &at));
            let permit = tried!(folder.permit(store.data_mut()));
            let entries = Entries { listing: Some(folder.list(permit)), read: VecDeque::new() };
            answer(Ok(store.data_mut().table.push(entries)?))
        })
    })?;
    types.func_wrap_async(
        "[method]directory-entry-stream.read-directory-entry",
        |mut store: StoreContextMut<'_, Guest>, (stream,): (Resource<Entries>,)| {
            Box::new(async move {
                let entries = store.data_mut().table.get_mut(&stream)?;
                if entries.read.is_empty()
                    && let Some(mut listing) = entries.listing.take()
                {
                    let read = tokio::task::spawn_blocking(move || (listing.next(), listing)).await;
                    let (read, listing) = tried!(read.map_err(io::Error::other));
                    entries.read = tried!(read).into();
                    entries.listing = (!entries.read.is_empty()).then_some(listing);
                }
                answer(Ok(entries.read.pop_front().map(DirectoryEntry::from)))
            })
        },
    )
}

impl From<Entry> for DirectoryEntry {
    fn from(Entry { kind, name }: Entry) -> DirectoryEntry {
        let type_ = match kind {
            Kind::Folder => DescriptorType::Directory,
            Kind::File => DescriptorType::RegularFile,
            Kind::Link => DescriptorType::SymbolicLink,
            Kind::BlockDevice => DescriptorType::BlockDevice,
            Kind::CharacterDevice => DescriptorType::CharacterDevice,
            Kind::Pipe => DescriptorType::Fifo,
            Kind::Socket => DescriptorType::Socket,
            Kind::Unknown => DescriptorType::Unknown,
        };
        DirectoryEntry { type_, name }
    }
}
