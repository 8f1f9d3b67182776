//! Texts to values, or why not, in words that can be put after where the text comes from. Knows no setting.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use berth_node::model::grants::PortSet;
use berth_node::model::image::ImageRef;
use berth_node::model::quantity::{parse_bytes, parse_duration, write_duration};

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let example = "an address and port like 127.0.0.1:8000, 0.0.0.0:80 or [::1]:8000";
    text.parse().map_err(|_| format!("`{}` is not {example}", text.escape_debug()))
}

/// Folders that are there, with colons between.
pub(super) fn folders(text: &str) -> Result<Vec<PathBuf>, String> {
    let folder = |part: &str| {
        let folder = path(part)?;
        // From where berth is started: a manifest's paths are absolute.
        let real = folder.canonicalize().map_err(|error| format!("`{}` can't be opened: {error}", part.escape_debug()))?;
        if real.is_dir() { Ok(real) } else { Err(format!("`{}` is no folder", part.escape_debug())) }
    };
    text.split(':').map(folder).collect()
}

pub(super) fn ports(text: &str) -> Result<PortSet, String> {
    if text == "none" { Ok(PortSet::default()) } else { text.parse::<PortSet>().map_err(|error| error.to_string()) }
}

/// A number of files; none for 0. With fewer than 64 nothing would start.
pub(super) fn open_files(text: &str) -> Result<Option<u64>, String> {
    match number(0..=1 << 30)(text)? {
        0 => Ok(None),
        few @ 1..64 => Err(format!("{few} is out of bounds: 0, or 64 to {}", 1 << 30)),
        files => Ok(Some(files)),
    }
}

/// `HOST[:PORT]`, with commas between.
pub(super) fn registry_list(text: &str) -> Result<Vec<String>, String> {
    let one = |part: &str| {
        let part = part.trim();
        let named = ImageRef::parse(&format!("{part}/image"));
        match named {
            Ok(ImageRef::Registry(image)) if image.registry == part => Ok(part.to_owned()),
            _ => {
                Err(format!("`{}` is not a registry: a host with a dot or `localhost`, and maybe a port, is expected", part.escape_debug()))
            }
        }
    };
    text.split(',').map(one).collect()
}

/// A file with at least one certificate; whether they are good is for the host to say.
pub(super) fn certificates(text: &str) -> Result<PathBuf, String> {
    /// A hundred times what the web's authorities take.
    const MAX_BYTES: u64 = 16 << 20;
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let path = path(text)?;
    let unreadable = |error: std::io::Error| format!("can't read {}: {error}", path.display());
    let meta = path.metadata().map_err(unreadable)?;
    if !meta.is_file() || meta.len() > MAX_BYTES {
        return Err(format!("{} isn't a file of at most {} MiB", path.display(), MAX_BYTES >> 20));
    }
    let bytes = std::fs::read(&path).map_err(unreadable)?;
    if bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Ok(path);
    }
    Err(format!("{} holds no certificate: PEM is wanted, which has lines -----BEGIN CERTIFICATE-----", path.display()))
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("it is empty: a path is expected".to_owned());
    }
    std::path::absolute(text).map_err(|error| format!("`{}` is not a path: {error}", text.escape_debug()))
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("`{}` is neither true nor false", text.escape_debug())),
    }
}

/// A DNS label (RFC 1123), as Kubernetes has names and label values.
pub(super) fn label(text: &str) -> Result<String, String> {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let good = (1..=63).contains(&text.len()) && text.bytes().all(inside) && !text.starts_with('-') && !text.ends_with('-');
    if good {
        return Ok(text.to_owned());
    }
    Err(format!("`{}` is not a name: 1 to 63 lower-case letters, digits and dashes within", text.escape_debug()))
}

fn within<T: PartialOrd>(value: T, bounds: &std::ops::RangeInclusive<T>, say: impl Fn(&T) -> String) -> Result<T, String> {
    if bounds.contains(&value) {
        return Ok(value);
    }
    Err(format!("{} is out of bounds: {} to {}", say(&value), say(bounds.start()), say(bounds.end())))
}

pub(super) fn number<T>(bounds: std::ops::RangeInclusive<T>) -> impl FnOnce(&str) -> Result<T, String>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    move |text| {
        let bad = || format!("`{}` is not a whole number from {} to {}", text.escape_debug(), bounds.start(), bounds.end());
        let value = text.parse::<T>().map_err(|_| bad())?;
        within(value, &bounds, ToString::to_string)
    }
}

pub(super) fn bytes(bounds: std::ops::RangeInclusive<u64>) -> impl FnOnce(&str) -> Result<u64, String> {
    move |text| within(parse_bytes(text).map_err(|e| e.to_string())?, &bounds, |n| format!("{n} bytes"))
}

pub(super) fn duration(bounds: std::ops::RangeInclusive<Duration>) -> impl FnOnce(&str) -> Result<Duration, String> {
    move |text| within(parse_duration(text).map_err(|e| e.to_string())?, &bounds, |d| write_duration(*d))
}
