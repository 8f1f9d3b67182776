//! The model from outside: what manifests, domains, grants, images and quantities mean.

#![allow(clippy::unwrap_used)]

mod arbitrary;
mod docs;
mod domains;
mod fields;
mod grants;
mod images;
mod json;
mod manifests;
mod quantities;
mod validation;
