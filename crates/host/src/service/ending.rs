//! How a run of a service ended, in words for its status, its log and its workload's events.

use std::fmt;
use std::time::Duration;

use crate::component::Unit;
use crate::invoke::failure::Failure;
use crate::limiter::Hit;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its work is done: `run` returned well, or it exited with status 0.
    Done,
    /// It failed.
    Failed(Fault),
    /// It was ended from outside.
    Cut,
}

/// What a service died of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `run` returned an error, which WASI gives no words for.
    Error,
    /// It exited with this status, which isn't 0.
    Status(i32),
    /// A trap, a limit, or no room for its instance.
    Failure(Failure),
}

impl Ending {
    /// What a run of `unit` came to. `hit` is the limit that it hit before.
    pub(super) fn of(unit: &Unit, run: wasmtime::Result<Result<(), ()>>, hit: Option<Hit>) -> Ending {
        match run {
            Ok(Ok(())) => Ending::Done,
            Ok(Err(())) => Ending::Failed(Fault::Error),
            Err(error) => match Failure::of(&error, hit, Duration::ZERO) {
                Failure::Exit(0) => Ending::Done,
                Failure::Exit(status) => Ending::Failed(Fault::Status(status)),
                Failure::Cut => Ending::Cut,
                failure => Ending::Failed(Fault::Failure(match unit.blamed(&error) {
                    Some(member) => Failure::In(member.name.clone(), Box::new(failure)),
                    None => failure,
                })),
            },
        }
    }
}

impl fmt::Display for Ending {
    /// As said of the service.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Done => f.write_str("has ended by itself with success"),
            Ending::Failed(fault) => fault.fmt(f),
            Ending::Cut => f.write_str("was ended"),
        }
    }
}

impl Fault {
    /// What the log says beyond the message: the backtrace (L43).
    pub(super) fn detail(&self) -> Option<&str> {
        match self {
            Fault::Failure(failure) => failure.detail(),
            Fault::Error | Fault::Status(_) => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Error => f.write_str("ended with an error"),
            Fault::Status(status) => write!(f, "exited with status {status}"),
            Fault::Failure(failure) => {
                write!(f, "{failure}")?;
                // The kind of trap; where it was is in the log.
                match failure.detail().and_then(trap) {
                    Some(line) => write!(f, ": {line}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// The line of a chain of causes that names the trap.
fn trap(detail: &str) -> Option<&str> {
    detail.lines().map(str::trim).rfind(|line| line.contains("wasm trap"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::tests::component;
    use wasmtime_wasi::I32Exit;

    fn ending(run: wasmtime::Result<Result<(), ()>>, hit: Option<Hit>) -> Ending {
        Ending::of(&Unit::single(component().0), run, hit)
    }

    #[test]
    fn l33_success_is_told_from_failure_however_a_service_ends() {
        let exit = |status| ending(Err(I32Exit(status).into()), None);
        assert_eq!(ending(Ok(Ok(())), None), Ending::Done);
        assert_eq!(exit(0), Ending::Done);
        assert_eq!(exit(3), Ending::Failed(Fault::Status(3)));
        assert_eq!(ending(Ok(Err(())), None), Ending::Failed(Fault::Error));
        let limit = ending(Err(wasmtime::Trap::UnreachableCodeReached.into()), Some(Hit::Memory(1 << 20)));
        let Ending::Failed(limit) = limit else { panic!("{limit:?}") };
        assert!(limit.to_string().contains("memory limit of 1 MiB"), "{limit}");
    }

    #[test]
    fn l43_a_trap_is_named() {
        let Ending::Failed(fault) = ending(Err(wasmtime::Trap::IntegerDivisionByZero.into()), None) else { panic!() };
        assert_eq!(fault.to_string(), "trapped: wasm trap: integer divide by zero");
        assert!(fault.detail().is_some());
    }
}
