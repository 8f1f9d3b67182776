//! Intake: what a file is, before anything is done with it.
//!
//! [`inspect`] reads the file's own structure, so that a core module, a text or half a download is refused with words instead of a
//! parser's offsets, and says which version of WASI a component speaks and whether it answers HTTP.

use std::str::FromStr;

use berth_model::interface::InterfaceName;
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentDefinedType, ComponentExternalKind, ComponentType, ComponentTypeDeclaration, Encoding,
    InstanceTypeDeclaration, Parser, Payload, Validator, WasmFeatures,
};

/// Largest component, bytes.
pub const MAX_COMPONENT_BYTES: usize = 256 << 20;

/// What a component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Names it imports: `wasi:http/types@0.2.3`.
    pub imports: Vec<String>,
    /// Names it exports.
    pub exports: Vec<String>,
    /// Elements that the largest table of its modules begins with.
    pub largest_table: u64,
    /// Whether it uses what only the component model's concurrency has: async functions, streams, futures.
    pub uses_async: bool,
}

/// How a component answers HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpExport {
    /// `wasi:http/incoming-handler@0.2`.
    P2,
    /// `wasi:http/handler@0.3`.
    P3,
}

/// How a component runs as a program, which a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunExport {
    /// `wasi:cli/run@0.2`.
    P2,
    /// `wasi:cli/run@0.3`.
    P3,
}

/// A file that is no component.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAComponent {
    /// Nothing.
    #[error("the file is empty: build the component first, or check the path")]
    Empty,
    /// A core module.
    #[error(
        "the file is a core WebAssembly module, not a component: build for the target wasm32-wasip2, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// Text format.
    #[error("the file is WebAssembly text, not a component: assemble it first (`wasm-tools parse`)")]
    WasmText,
    /// Something else.
    #[error("the file is not WebAssembly: it begins with {found}, not with `\\0asm`; {hint}")]
    NotWasm {
        /// Its first bytes.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// The end is missing.
    #[error("the file is cut off after {bytes} bytes: copy or download it again")]
    Truncated {
        /// Bytes that are there.
        bytes: usize,
    },
    /// Too large.
    #[error("the file has {bytes} bytes, and the limit is {MAX_COMPONENT_BYTES}")]
    TooLarge {
        /// Bytes that are there.
        bytes: usize,
    },
    /// Not valid.
    #[error("the component is not valid: {0}; build it again with current tools")]
    Invalid(String),
}

/// Reads what `bytes` are, and validates them whole.
///
/// # Errors
///
/// When they are no valid component; the error says what they are instead and what to do.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, NotAComponent> {
    let found = outline(bytes)?;
    Validator::new_with_features(WasmFeatures::all()).validate_all(bytes).map_err(|error| fault(bytes, &error))?;
    Ok(found)
}

/// The same without validating: for who only wants the names, or hands the bytes to the engine, which validates what it compiles.
///
/// # Errors
///
/// When they are visibly no component.
pub fn outline(bytes: &[u8]) -> Result<Inspection, NotAComponent> {
    check_header(bytes)?;
    if bytes.len() > MAX_COMPONENT_BYTES {
        return Err(NotAComponent::TooLarge { bytes: bytes.len() });
    }
    names(bytes).map_err(|error| fault(bytes, &error))
}

fn fault(bytes: &[u8], error: &wasmparser::BinaryReaderError) -> NotAComponent {
    if error.message().contains("unexpected end") || error.message().contains("unexpected EOF") {
        NotAComponent::Truncated { bytes: bytes.len() }
    } else {
        NotAComponent::Invalid(error.message().to_owned())
    }
}

pub(crate) fn check_header(bytes: &[u8]) -> Result<(), NotAComponent> {
    if bytes.is_empty() {
        return Err(NotAComponent::Empty);
    }
    if !bytes.starts_with(b"\0asm") {
        let text = std::str::from_utf8(&bytes[..bytes.len().min(64)]).unwrap_or("").trim_start();
        if text.starts_with("(module") || text.starts_with("(component") || text.starts_with(";;") {
            return Err(NotAComponent::WasmText);
        }
        if b"\0asm".starts_with(bytes) {
            return Err(NotAComponent::Truncated { bytes: bytes.len() });
        }
        return Err(NotAComponent::NotWasm { found: first_bytes(bytes), hint: hint(bytes) });
    }
    match bytes.get(4..8) {
        None => Err(NotAComponent::Truncated { bytes: bytes.len() }),
        Some([_, _, 0, 0]) => Err(NotAComponent::CoreModule),
        Some(_) => Ok(()),
    }
}

fn first_bytes(bytes: &[u8]) -> String {
    format!("`{}`", bytes[..bytes.len().min(8)].escape_ascii())
}

fn hint(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x1f, 0x8b, ..] => "it is compressed with gzip: unpack it first",
        [b'P', b'K', 3, 4, ..] => "it is a zip archive: unpack it first",
        [0x7f, b'E', b'L', b'F', ..] => "it is a native program or precompiled code: give the component it was made from",
        [b'#', b'!', ..] => "it is a script",
        [b'{', ..] => "it is JSON: an OCI layout is given by its folder",
        _ => "give a component, built for the target wasm32-wasip2",
    }
}

/// Names at the component's outer level, and the tables of the modules within.
fn names(bytes: &[u8]) -> Result<Inspection, wasmparser::BinaryReaderError> {
    let mut found = Inspection { imports: Vec::new(), exports: Vec::new(), largest_table: 0, uses_async: false };
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding: Encoding::Component | Encoding::Module, .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(reader) if depth == 1 => {
                for import in reader {
                    found.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(reader) if depth == 1 => {
                for export in reader {
                    let export = export?;
                    if matches!(export.kind, ComponentExternalKind::Instance | ComponentExternalKind::Func) {
                        found.exports.push(export.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentCanonicalSection(reader) => {
                for function in reader {
                    found.uses_async |= is_async(&function?);
                }
            }
            Payload::ComponentTypeSection(reader) => {
                for ty in reader {
                    found.uses_async |= has_async(&ty?);
                }
            }
            Payload::TableSection(reader) => {
                for table in reader {
                    found.largest_table = found.largest_table.max(table?.ty.initial);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Whether a canonical function is more than those that every component has.
fn is_async(function: &CanonicalFunction) -> bool {
    match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
            options.iter().any(|option| matches!(option, CanonicalOption::Async | CanonicalOption::Callback(_)))
        }
        CanonicalFunction::ResourceNew { .. } | CanonicalFunction::ResourceDrop { .. } | CanonicalFunction::ResourceRep { .. } => false,
        _ => true,
    }
}

/// Whether a type is of an async function, a stream or a future, or holds one.
fn has_async(ty: &ComponentType<'_>) -> bool {
    match ty {
        ComponentType::Func(func) => func.async_,
        ComponentType::Defined(ComponentDefinedType::Stream(_) | ComponentDefinedType::Future(_)) => true,
        ComponentType::Instance(parts) => parts.iter().any(|part| matches!(part, InstanceTypeDeclaration::Type(ty) if has_async(ty))),
        ComponentType::Component(parts) => parts.iter().any(|part| matches!(part, ComponentTypeDeclaration::Type(ty) if has_async(ty))),
        _ => false,
    }
}

/// The name of an import as its component has it: of a unit's other members the host sees it behind their seats.
fn original(name: &str) -> &str {
    let seated = name.strip_prefix('m').and_then(|rest| rest.split_once('-'));
    match seated {
        Some((seat, original)) if !seat.is_empty() && seat.bytes().all(|b| b.is_ascii_digit()) => original,
        _ => name,
    }
}

impl Inspection {
    /// How it answers HTTP, if it does. A component that exports both versions is served by 0.3.
    pub fn http(&self) -> Option<HttpExport> {
        let exports = |interface: &str, minor: u64| self.exports.iter().any(|name| is_wasi(name, "http", interface, minor));
        if exports("handler", 3) {
            Some(HttpExport::P3)
        } else if exports("incoming-handler", 2) {
            Some(HttpExport::P2)
        } else {
            None
        }
    }

    /// How it runs as a program, if it does. A component that exports both versions is run by 0.3.
    pub fn run(&self) -> Option<RunExport> {
        let exports = |minor: u64| self.exports.iter().any(|name| is_wasi(name, "cli", "run", minor));
        if exports(3) {
            Some(RunExport::P3)
        } else if exports(2) {
            Some(RunExport::P2)
        } else {
            None
        }
    }

    /// Whether it needs WASI 0.3.
    pub fn uses_p3(&self) -> bool {
        self.uses_async || self.imports.iter().chain(&self.exports).any(|name| wasi_minor(original(name)) == Some(3))
    }
}

fn is_wasi(name: &str, package: &str, interface: &str, minor: u64) -> bool {
    InterfaceName::from_str(name).is_ok_and(|n| n.namespace == "wasi" && n.package == package && n.interface == interface)
        && wasi_minor(name) == Some(minor)
}

/// The minor version of a `wasi:` interface of major version 0.
fn wasi_minor(name: &str) -> Option<u64> {
    let name = InterfaceName::from_str(name).ok()?;
    let version = name.version?;
    (name.namespace == "wasi" && version.major == 0).then_some(version.minor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_component_is_named() {
        assert_eq!(inspect(b""), Err(NotAComponent::Empty));
        assert_eq!(inspect(b"\0asm\x01\0\0\0"), Err(NotAComponent::CoreModule));
        assert_eq!(inspect(b"\0as"), Err(NotAComponent::Truncated { bytes: 3 }));
        assert_eq!(inspect(b"(component)"), Err(NotAComponent::WasmText));
        assert!(inspect(b"hello, world").unwrap_err().to_string().contains("`hello, w`"));
        assert!(inspect(&[0x1f, 0x8b, 8, 0]).unwrap_err().to_string().contains("gzip"));
        assert!(matches!(inspect(b"\0asm\x0d\0\x01\0\x07\xff\xff\x7f"), Err(NotAComponent::Truncated { .. })));
    }

    #[test]
    fn an_empty_component_is_one() {
        let found = inspect(b"\0asm\x0d\0\x01\0").unwrap();
        assert_eq!((found.http(), found.uses_p3(), found.largest_table), (None, false, 0));
    }

    #[test]
    fn the_version_of_http_is_read_from_the_export() {
        let with = |exports: &[&str]| {
            let exports = exports.iter().map(|e| (*e).to_owned()).collect();
            Inspection { imports: vec![], exports, largest_table: 0, uses_async: false }
        };
        assert_eq!(with(&["wasi:http/incoming-handler@0.2.12"]).http(), Some(HttpExport::P2));
        assert_eq!(with(&["wasi:http/handler@0.3.0"]).http(), Some(HttpExport::P3));
        assert_eq!(with(&["wasi:cli/run@0.2.3"]).http(), None);
        assert_eq!(with(&["wasi:cli/run@0.2.3"]).run(), Some(RunExport::P2));
        assert_eq!(with(&["wasi:cli/run@0.2.3", "wasi:cli/run@0.3.0"]).run(), Some(RunExport::P3));
        assert_eq!(with(&["wasi:http/handler@0.3.0", "acme:cli/run@0.2.0"]).run(), None);
        assert!(with(&["wasi:http/handler@0.3.0"]).uses_p3());
        let imports = |name: &str| Inspection { imports: vec![name.into()], ..with(&[]) };
        assert!(imports("m12-wasi:cli/environment@0.3.0").uses_p3() && !imports("m1-wasi:cli/environment@0.2.3").uses_p3());
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = inspect(&bytes);
            let mut wasm = b"\0asm\x0d\0\x01\0".to_vec();
            wasm.extend(bytes);
            let _ = inspect(&wasm);
        }
    }
}
