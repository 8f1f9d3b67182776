//! Berth's HTTP stack: accept loop, TLS, limits, drain, domain match and header hygiene.
