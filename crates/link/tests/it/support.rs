//! Components as text, and a workload made of them.

use berth_link::{LinkError, LinkPlan, Part, Role, World, plan};
use berth_model::workload::Link;

/// Assembles a component.
pub fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A part of a workload under test.
pub struct Guest {
    pub name: String,
    pub bytes: Vec<u8>,
    pub links: Vec<Link>,
    pub role: Role,
}

/// A component of this name and text.
pub fn guest(name: &str, text: &str) -> Guest {
    Guest { name: name.to_owned(), bytes: component(text), links: Vec::new(), role: Role::Component }
}

impl Guest {
    /// With an entry of `links`.
    pub fn link(mut self, import: &str, component: &str) -> Guest {
        self.links.push(Link { import: import.parse().unwrap(), component: Some(component.to_owned()), fuse: false });
        self
    }

    /// With an entry that wants the import fused.
    pub fn fuse(mut self, import: &str) -> Guest {
        self.links.push(Link { import: import.parse().unwrap(), component: None, fuse: true });
        self
    }

    /// As the service.
    pub fn service(mut self) -> Guest {
        self.role = Role::Service;
        self
    }
}

/// A workload that has been planned.
pub struct Planned {
    pub guests: Vec<Guest>,
    pub plan: LinkPlan,
}

/// Whether a host provides an import: what it has of WASI 0.2 and 0.3.
pub fn provided(import: &str) -> bool {
    let packages = ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/", "x:impl/"];
    let http = ["wasi:http/types", "wasi:http/outgoing-handler", "wasi:http/client"];
    packages.iter().chain(&http).any(|start| import.starts_with(start))
}

pub fn worlds(guests: &[Guest]) -> Vec<World> {
    guests.iter().map(|guest| World::read(&guest.bytes).unwrap()).collect()
}

pub fn parts<'a>(guests: &'a [Guest], worlds: &'a [World]) -> Vec<Part<'a>> {
    let part = |(guest, world): (&'a Guest, &'a World)| Part { name: &guest.name, world, links: &guest.links, role: guest.role };
    guests.iter().zip(worlds).map(part).collect()
}

/// Plans a workload without HTTP.
pub fn try_plan(guests: &[Guest]) -> Result<LinkPlan, LinkError> {
    plan(&parts(guests, &worlds(guests)), None, false, &provided)
}

/// Plans a workload with HTTP.
pub fn try_http(guests: &[Guest], entry: Option<&str>) -> Result<LinkPlan, LinkError> {
    plan(&parts(guests, &worlds(guests)), entry, true, &provided)
}

/// A workload that can be planned.
pub fn planned(guests: Vec<Guest>) -> Planned {
    let plan = try_plan(&guests).unwrap_or_else(|error| panic!("{error}"));
    Planned { guests, plan }
}

impl Planned {
    pub fn bytes(&self) -> Vec<&[u8]> {
        self.guests.iter().map(|guest| guest.bytes.as_slice()).collect()
    }

    /// The links as `a imports x from b, fused`.
    pub fn lines(&self) -> Vec<String> {
        lines(&self.guests, &self.plan)
    }

    /// The names of each unit's members, root first.
    pub fn units(&self) -> Vec<Vec<&str>> {
        let name = |part: &usize| self.guests[*part].name.as_str();
        self.plan.units.iter().map(|unit| unit.members.iter().map(name).collect()).collect()
    }

    /// Composes the unit of this root.
    pub fn compose(&self, root: &str) -> berth_link::Composed {
        let unit = self.plan.units.iter().find(|unit| self.guests[unit.root].name == root).unwrap();
        berth_link::compose(&self.plan, unit, &self.bytes()).unwrap_or_else(|error| panic!("{error}"))
    }
}

pub fn lines(guests: &[Guest], plan: &LinkPlan) -> Vec<String> {
    let line = |link: &berth_link::Link| {
        let (importer, exporter) = (&guests[link.importer].name, &guests[link.exporter].name);
        format!("{importer} imports {} from {exporter}'s {}, {}", link.import, link.export, link.way.word())
    };
    plan.links.iter().map(line).collect()
}

/// A component that imports and exports these interfaces, each with one function `run` without parameters.
pub fn plain(imports: &[&str], exports: &[&str]) -> String {
    let mut text = String::from("(component\n");
    for import in imports {
        text.push_str(&format!("  (import \"{import}\" (instance (export \"run\" (func))))\n"));
    }
    text.push_str(
        "  (core module $m (func (export \"run\")))\n  (core instance $i (instantiate $m))\n  (func $run (canon lift (core func $i \"run\")))\n  (instance $api (export \"run\" (func $run)))\n",
    );
    for export in exports {
        text.push_str(&format!("  (export \"{export}\" (instance $api))\n"));
    }
    text.push(')');
    text
}

/// A component that imports an interface of this body: types and functions, as within an instance's type.
pub fn importing(interface: &str, body: &str) -> String {
    format!("(component (import \"{interface}\" (instance {body})))")
}

/// A component that exports such an interface. What is behind it comes from `x:impl/api`, which every component has of its own.
pub fn exporting(interface: &str, body: &str) -> String {
    format!("(component (import \"x:impl/api\" (instance $i {body})) (export \"{interface}\" (instance $i)))")
}

/// A component that defines a resource and exports it with a constructor and a method, as bindings do.
pub fn defining(interface: &str) -> String {
    format!(
        r#"(component
  (type $r (resource (rep i32)))
  (core func $new (canon resource.new $r))
  (core module $m
    (import "" "new" (func $new (param i32) (result i32)))
    (func (export "open") (result i32) (call $new (i32.const 7)))
    (func (export "size") (param i32) (result i32) (local.get 0)))
  (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
  (func $open (result (own $r)) (canon lift (core func $i "open")))
  (func $size (param "self" (borrow $r)) (result u32) (canon lift (core func $i "size")))
  (component $wrap
    (import "import-type-conn" (type $c (sub resource)))
    (import "import-open" (func $open (result (own $c))))
    (import "import-size" (func $size (param "self" (borrow $c)) (result u32)))
    (export $conn "conn" (type $c))
    (export "open" (func $open) (func (result (own $conn))))
    (export "[method]conn.size" (func $size) (func (param "self" (borrow $conn)) (result u32))))
  (instance $api (instantiate $wrap
    (with "import-type-conn" (type $r)) (with "import-open" (func $open)) (with "import-size" (func $size))))
  (export "{interface}" (instance $api)))"#
    )
}

/// The interface that [`defining`] exports.
pub const CONN: &str = r#"(export "conn" (type $c (sub resource)))
  (export "open" (func (result (own $c))))
  (export "[method]conn.size" (func (param "self" (borrow $c)) (result u32)))"#;
