//! One event per request, at debug: what was asked, what came of it, and how long its head took. Never a query, a header's value other
//! than the request's id, or a body. Where nobody listens it costs one comparison.

use std::time::Instant;

use http::{Method, Request, StatusCode};
use tracing::Level;

use crate::prepare::HttpWorkload;
use crate::request_id::RequestId;

/// A request that will be told; told when it is dropped, without a status if its client left before there was one.
pub(super) struct RequestTrace(Option<Box<Fields>>);

struct Fields {
    method: Method,
    path: String,
    start: Instant,
    namespace: String,
    workload: String,
    request: String,
    status: Option<StatusCode>,
}

impl RequestTrace {
    pub(super) fn begin<B>(request: &Request<B>) -> RequestTrace {
        if !tracing::enabled!(Level::DEBUG) {
            return RequestTrace(None);
        }
        RequestTrace(Some(Box::new(Fields {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            start: Instant::now(),
            namespace: String::new(),
            workload: String::new(),
            request: String::new(),
            status: None,
        })))
    }

    /// Who answers.
    pub(super) fn workload(&mut self, workload: &HttpWorkload) {
        if let Some(fields) = &mut self.0 {
            let component = &workload.entry.component;
            (fields.namespace, fields.workload) = (component.namespace.to_string(), component.workload.to_string());
        }
    }

    pub(super) fn id(&mut self, id: &RequestId) {
        if let Some(fields) = &mut self.0 {
            fields.request = id.to_string();
        }
    }

    pub(super) fn status(&mut self, status: StatusCode) {
        if let Some(fields) = &mut self.0 {
            fields.status = Some(status);
        }
    }
}

impl Drop for RequestTrace {
    fn drop(&mut self) {
        let Some(fields) = &self.0 else { return };
        let Fields { method, path, start, namespace, workload, request, status } = &**fields;
        let took_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let status = status.map(|status| status.as_u16());
        tracing::debug!(%method, path, status, namespace, workload, request, took_us, "request");
    }
}
