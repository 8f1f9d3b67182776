//! Error codes of wasi:http on their way between the versions, and what a caller sees of a callee's end.

use std::fmt;

use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types as p2;
#[cfg(feature = "wasi-p3")]
use wasmtime_wasi_http::p3::bindings::http::types as p3;

use crate::invoke::failure::Failure;

/// Longest text of a code in logs and answers, bytes: guests choose it.
const MAX_TEXT_BYTES: usize = 256;

/// The error code that a guest answered with.
#[derive(Clone, Debug)]
pub(crate) enum Code {
    P2(Box<p2::ErrorCode>),
    #[cfg(feature = "wasi-p3")]
    P3(Box<p3::ErrorCode>),
}

impl Code {
    /// The same code for a caller of either version, with what it carries.
    pub(crate) fn into_error(self) -> Error {
        match self {
            // The engine's conversion makes a request's header of a response's.
            Code::P2(code) => match *code {
                p2::ErrorCode::HttpResponseHeaderSize(size) => {
                    Error::HttpResponseHeaderSize { field_name: size.field_name, field_size: size.field_size }
                }
                code => code.into(),
            },
            #[cfg(feature = "wasi-p3")]
            Code::P3(code) => match *code {
                p3::ErrorCode::HttpResponseHeaderSize(size) => {
                    Error::HttpResponseHeaderSize { field_name: size.field_name, field_size: size.field_size }
                }
                code => code.into(),
            },
        }
    }

    fn text(&self) -> String {
        match self {
            Code::P2(code) => format!("{code:?}"),
            #[cfg(feature = "wasi-p3")]
            Code::P3(code) => format!("{code:?}"),
        }
    }
}

impl From<p2::ErrorCode> for Code {
    fn from(code: p2::ErrorCode) -> Code {
        Code::P2(Box::new(code))
    }
}

#[cfg(feature = "wasi-p3")]
impl From<p3::ErrorCode> for Code {
    fn from(code: p3::ErrorCode) -> Code {
        Code::P3(Box::new(code))
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Code) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Code {}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        f.write_str(&text[..text.floor_char_boundary(MAX_TEXT_BYTES)])
    }
}

/// What the caller sees of a callee that gave no answer. The cause is in the workload's log and events, with the callee's name.
pub(crate) fn of_failure(failure: Failure) -> Error {
    match failure {
        Failure::In(_, failure) => of_failure(*failure),
        Failure::Code(code) => code.into_error(),
        Failure::Deadline(_) => Error::HttpResponseTimeout,
        Failure::NoAnswer => Error::HttpResponseIncomplete,
        Failure::Informational(_) => Error::HttpProtocolError,
        Failure::NoInstance(_) => Error::DestinationUnavailable,
        _ => Error::ConnectionTerminated,
    }
}

/// The code in an error that a stream of 0.2 reported: one of 0.2 itself, or one that came from elsewhere. None: it is no error of HTTP.
pub(crate) fn in_stream_error(error: &wasmtime::Error) -> Option<p2::ErrorCode> {
    if let Some(code) = error.downcast_ref::<p2::ErrorCode>() {
        return Some(code.clone());
    }
    error.downcast_ref::<Error>().map(to_p2)
}

/// The error in the words of 0.2.
fn to_p2(error: &Error) -> p2::ErrorCode {
    use p2::{DnsErrorPayload, ErrorCode, FieldSizePayload, TlsAlertReceivedPayload};
    let field = |name: &Option<String>, size: &Option<u32>| FieldSizePayload { field_name: name.clone(), field_size: *size };
    match error {
        Error::DnsTimeout => ErrorCode::DnsTimeout,
        Error::DnsError { rcode, info_code } => ErrorCode::DnsError(DnsErrorPayload { rcode: rcode.clone(), info_code: *info_code }),
        Error::DestinationNotFound => ErrorCode::DestinationNotFound,
        Error::DestinationUnavailable => ErrorCode::DestinationUnavailable,
        Error::DestinationIpProhibited => ErrorCode::DestinationIpProhibited,
        Error::DestinationIpUnroutable => ErrorCode::DestinationIpUnroutable,
        Error::ConnectionRefused => ErrorCode::ConnectionRefused,
        Error::ConnectionTerminated => ErrorCode::ConnectionTerminated,
        Error::ConnectionTimeout => ErrorCode::ConnectionTimeout,
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        Error::ConnectionWriteTimeout => ErrorCode::ConnectionWriteTimeout,
        Error::ConnectionLimitReached => ErrorCode::ConnectionLimitReached,
        Error::TlsProtocolError | Error::Tls(_) => ErrorCode::TlsProtocolError,
        Error::TlsCertificateError => ErrorCode::TlsCertificateError,
        Error::TlsAlertReceived { alert_id, alert_message } => {
            ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload { alert_id: *alert_id, alert_message: alert_message.clone() })
        }
        Error::HttpRequestDenied => ErrorCode::HttpRequestDenied,
        Error::HttpRequestLengthRequired => ErrorCode::HttpRequestLengthRequired,
        Error::HttpRequestBodySize(size) => ErrorCode::HttpRequestBodySize(*size),
        Error::HttpRequestMethodInvalid => ErrorCode::HttpRequestMethodInvalid,
        Error::HttpRequestUriInvalid => ErrorCode::HttpRequestUriInvalid,
        Error::HttpRequestUriTooLong => ErrorCode::HttpRequestUriTooLong,
        Error::HttpRequestHeaderSectionSize(size) => ErrorCode::HttpRequestHeaderSectionSize(*size),
        Error::HttpRequestHeaderSize { field_name, field_size } => ErrorCode::HttpRequestHeaderSize(Some(field(field_name, field_size))),
        Error::HttpRequestTrailerSectionSize(size) => ErrorCode::HttpRequestTrailerSectionSize(*size),
        Error::HttpRequestTrailerSize { field_name, field_size } => ErrorCode::HttpRequestTrailerSize(field(field_name, field_size)),
        Error::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        Error::HttpResponseHeaderSectionSize(size) => ErrorCode::HttpResponseHeaderSectionSize(*size),
        Error::HttpResponseHeaderSize { field_name, field_size } => ErrorCode::HttpResponseHeaderSize(field(field_name, field_size)),
        Error::HttpResponseBodySize(size) => ErrorCode::HttpResponseBodySize(*size),
        Error::HttpResponseTrailerSectionSize(size) => ErrorCode::HttpResponseTrailerSectionSize(*size),
        Error::HttpResponseTrailerSize { field_name, field_size } => ErrorCode::HttpResponseTrailerSize(field(field_name, field_size)),
        Error::HttpResponseTransferCoding(coding) => ErrorCode::HttpResponseTransferCoding(coding.clone()),
        Error::HttpResponseContentCoding(coding) => ErrorCode::HttpResponseContentCoding(coding.clone()),
        Error::HttpResponseTimeout => ErrorCode::HttpResponseTimeout,
        Error::HttpUpgradeFailed => ErrorCode::HttpUpgradeFailed,
        Error::HttpProtocolError | Error::Hyper(_) => ErrorCode::HttpProtocolError,
        Error::LoopDetected => ErrorCode::LoopDetected,
        Error::ConfigurationError => ErrorCode::ConfigurationError,
        Error::InternalError(text) => ErrorCode::InternalError(text.clone()),
        other => ErrorCode::InternalError(Some(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_keeps_what_it_carries_on_its_way_from_0_2_and_back() {
        let size = || p2::FieldSizePayload { field_name: Some("x-large".into()), field_size: Some(7) };
        let dns = p2::DnsErrorPayload { rcode: Some("NXDOMAIN".into()), info_code: Some(3) };
        for code in [
            p2::ErrorCode::InternalError(Some("as asked".into())),
            p2::ErrorCode::DnsError(dns),
            p2::ErrorCode::HttpRequestHeaderSize(Some(size())),
            p2::ErrorCode::HttpResponseHeaderSize(size()),
            p2::ErrorCode::HttpResponseBodySize(Some(9)),
            p2::ErrorCode::LoopDetected,
        ] {
            let error = wasmtime::Error::new(Code::from(code.clone()).into_error());
            assert_eq!(format!("{:?}", in_stream_error(&error)), format!("{:?}", Some(code)));
        }
        assert!(in_stream_error(&wasmtime::format_err!("no HTTP")).is_none());
    }

    #[test]
    fn l31_the_text_of_a_code_is_cut() {
        let code = Code::from(p2::ErrorCode::InternalError(Some("ü".repeat(10_000))));
        assert!(code.to_string().len() <= MAX_TEXT_BYTES);
    }
}
