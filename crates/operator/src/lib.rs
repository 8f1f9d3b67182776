//! Places workloads on hosts: snapshot, plan, apply.
