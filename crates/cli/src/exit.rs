//! How the command ends: the exit codes, and which error means which.

use std::io;
use std::process::ExitCode;

use berth_node::api::{ApiError, ClientError, Code};
use berth_node::chain;
use berth_node::data::DataError;
use berth_node::host::StartError;
use berth_node::http_stack::BindError;
use berth_node::intake::IntakeErrors;
use berth_node::roles::local::LocalError;

/// Exit codes, part of the command's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done.
    Ok = 0,
    /// It failed, for a reason that has no code of its own.
    Failure = 1,
    /// Flags, environment or configuration file are wrong; nothing was done.
    Usage = 2,
    /// An object that was named isn't there.
    NotFound = 3,
    /// No running berth can be reached, or it doesn't answer.
    Unreachable = 4,
    /// A manifest or a file was refused.
    Refused = 5,
    /// The data folder or an address is in use.
    InUse = 6,
    /// A second Ctrl-C cut the drain short.
    Interrupted = 130,
}

impl Exit {
    /// Every code with its meaning, for help and docs.
    pub const ALL: [(Exit, &'static str); 8] = [
        (Exit::Ok, "done"),
        (Exit::Failure, "failed"),
        (Exit::Usage, "wrong flags, environment or configuration file"),
        (Exit::NotFound, "an object that was named isn't there"),
        (Exit::Unreachable, "no running berth can be reached, or it doesn't answer"),
        (Exit::Refused, "a manifest or a file was refused"),
        (Exit::InUse, "the data folder or an address is in use"),
        (Exit::Interrupted, "a second Ctrl-C cut the drain short"),
    ];

    /// The process's exit code.
    pub fn code(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// For a person; empty when all has been said.
    pub message: String,
}

impl Failure {
    /// A failure with its message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }

    /// A failure that has been told already.
    pub fn told(exit: Exit) -> Failure {
        Failure::new(exit, "")
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let exit = match &error {
            ClientError::Data(DataError::NotFolder { .. }) => Exit::Usage,
            e if e.is_unreachable() => Exit::Unreachable,
            e if e.is_not_found() => Exit::NotFound,
            ClientError::Refused(ApiError { code: Code::Invalid | Code::BadRequest | Code::TooLarge, .. }) => Exit::Refused,
            _ => Exit::Failure,
        };
        // That a socket isn't there says nothing beyond "no berth is running".
        let message = if let ClientError::NotRunning { .. } = error { error.to_string() } else { chain(&error) };
        Failure::new(exit, message)
    }
}

impl From<IntakeErrors> for Failure {
    fn from(errors: IntakeErrors) -> Failure {
        Failure::new(Exit::Refused, errors.to_string())
    }
}

impl From<LocalError> for Failure {
    fn from(error: LocalError) -> Failure {
        let (exit, hint) = match &error {
            LocalError::Data(DataError::Held { .. }) => (Exit::InUse, ""),
            LocalError::Data(DataError::NotFolder { .. }) => (Exit::Usage, ""),
            LocalError::Admin { source, .. } if source.kind() == io::ErrorKind::AddrInUse => (Exit::InUse, ""),
            LocalError::Host(StartError::Bind(BindError::InUse { .. })) => (Exit::InUse, HTTP_ADDR),
            LocalError::Host(StartError::Bind(BindError::Listen { .. })) => (Exit::Failure, HTTP_ADDR),
            _ => (Exit::Failure, ""),
        };
        Failure::new(exit, format!("{}{hint}", chain(&error)))
    }
}

/// Which flag changes it.
const HTTP_ADDR: &str = " (--http-addr; port 0 takes a free one)";

/// Only writing to standard output fails with a bare I/O error here.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        // `berth get | head`: the reader has what it wanted.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::told(Exit::Ok);
        }
        Failure::new(Exit::Failure, format!("can't write to standard output: {error}"))
    }
}
