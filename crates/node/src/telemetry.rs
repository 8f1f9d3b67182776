//! Logs: one subscriber per process, always to standard error (L61).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for a person.
    #[default]
    Pretty,
    /// One JSON object per line, for a collector.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, Default)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// 0: warnings (with [`LogFormat::Json`] also what Berth does); 1: what Berth does; 2: details and requests too; 3 or more: everything.
    pub verbosity: u8,
    /// A filter in `tracing`'s notation that replaces the verbosity: `berth_host=debug,info`.
    pub filter: Option<String>,
    /// Whether lines are colored; only asked for [`LogFormat::Pretty`].
    pub color: bool,
}

/// A filter that can't be read, or a subscriber that is already there.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter isn't one.
    #[error("`{text}` is not a log filter: write it like `info` or `berth_host=debug,warn`")]
    Filter {
        /// What was given.
        text: String,
        /// What the parser says.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process already logs.
    #[error("logging is already set up in this process")]
    Twice(#[source] TryInitError),
}

/// Starts logging to standard error. Once per process.
pub fn init(config: &LogConfig) -> Result<(), TelemetryError> {
    let directives = config.filter.clone().unwrap_or_else(|| directives(config.verbosity, config.format).to_string());
    let filter = EnvFilter::try_new(&directives).map_err(|source| TelemetryError::Filter { text: directives, source })?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match config.format {
        LogFormat::Pretty => {
            let layer = layer.with_ansi(config.color && std::io::stderr().is_terminal()).with_target(config.verbosity > 1);
            registry.with(layer).try_init()
        }
        LogFormat::Json => registry.with(layer.json().flatten_event(true).with_current_span(false)).try_init(),
    }
    .map_err(TelemetryError::Twice)
}

/// The filter of a verbosity. Libraries below Berth stay a step quieter: their `debug` is per packet, and wasi:http's warnings are per
/// client that breaks off.
fn directives(verbosity: u8, format: LogFormat) -> &'static str {
    match (verbosity, format) {
        (0, LogFormat::Pretty) => "warn,wasmtime_wasi_http=error",
        (0, LogFormat::Json) | (1, _) => {
            "warn,wasmtime_wasi_http=error,berth=info,berth_cli=info,berth_control=info,berth_host=info,berth_http=info,berth_node=info,\
             berth_oci=info,berth_operator=info"
        }
        (2, _) => {
            "info,berth=debug,berth_cli=debug,berth_control=debug,berth_host=debug,berth_http=debug,berth_node=debug,berth_oci=debug,\
             berth_operator=debug"
        }
        _ => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verbosity_is_a_filter_that_parses() {
        for verbosity in 0..5 {
            for format in [LogFormat::Pretty, LogFormat::Json] {
                EnvFilter::try_new(directives(verbosity, format)).unwrap();
            }
        }
    }
}
