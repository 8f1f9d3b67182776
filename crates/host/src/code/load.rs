//! The one place with unsafe code: taking in machine code that Berth compiled, just now or earlier and authenticated.

#![allow(unsafe_code, reason = "loading machine code is trusting it: it was authenticated, or made here")]

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

/// Maps the code in `file`, which is authentic: this cache's key made it, and its name says that it is for `engine`. `path` is where the
/// file was opened.
pub(super) fn authenticated(engine: &Engine, file: &File, path: &Path) -> wasmtime::Result<Component> {
    // The file that was authenticated, even if another has taken its place at the path since. Systems without /proc use the path: the
    // folder belongs to the user who runs the host, and what is put into it is put there whole.
    let opened = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let mapped = if opened.exists() { opened } else { path.to_owned() };
    // SAFETY: `deserialize_file` runs what it is given. The content is what `Component::serialize` gave this program for an engine of
    // equal version, settings and processor features: its authentication code was made over it and over the name that stands for all of
    // these, with a key that only the user who runs the host can read. Nobody changes it in place: entries are written elsewhere and
    // renamed, and removed by unlinking, which leaves the mapped file as it is.
    unsafe { Component::deserialize_file(engine, mapped) }
}

/// Code as an engine of this process has written it down, in no other hands since.
pub(crate) struct Written(Vec<u8>);

impl Written {
    /// The code of a component, compiled by `compiler`, which need not be the engine that is to run it.
    pub(crate) fn compile(compiler: &Engine, component: &[u8]) -> wasmtime::Result<Written> {
        compiler.precompile_component(component).map(Written)
    }

    /// The code of a component that is compiled.
    pub(crate) fn of(component: &Component) -> wasmtime::Result<Written> {
        component.serialize().map(Written)
    }

    /// Takes it in for `engine`: an error where that runs no such code, or has no room for such a component.
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: `deserialize` runs what it is given. This is what `Engine::precompile_component` or `Component::serialize` has returned,
        // unchanged: nothing else makes or changes a value of this type. That it was made for an engine of equal version, settings and
        // processor features is checked by `deserialize`.
        unsafe { Component::deserialize(engine, &self.0) }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
