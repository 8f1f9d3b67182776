//! What is valid and still deserves a word: fields that wasmCloud takes and that have no effect here yet, and images that were hardly meant
//! as they stand.

use super::Remark;
use crate::grants::{AddressClass, AllowedHost, HostPattern, LOOPBACK_NAME, classify};
use crate::image::ImageRef;
use crate::import::ImportName;
use crate::resource::{HostInterfaceSpec, LinkSpec, LocalResources, Resource};
use crate::text::quote;

/// Packages of `wasi` that hosts provide to every component, whether an entry asks for them or not.
const PROVIDED: [&str; 7] = ["cli", "clocks", "filesystem", "http", "io", "random", "sockets"];

/// What a person who applies this object should know. It may be stored all the same.
pub fn remarks(resource: &Resource) -> Vec<Remark> {
    let mut remarks: Vec<Remark> = resource.images().into_iter().filter_map(|(field, image)| forgotten_scheme(field, image)).collect();
    let Some((at, spec)) = resource.workload_spec() else { return remarks };
    for (index, component) in spec.components.iter().enumerate() {
        let owner = format!("{at}.components[{index}]");
        remarks.extend(own_loopback(component.local_resources.as_ref(), &owner));
        remarks.extend(fuse(&component.links, &owner));
    }
    if let Some(service) = &spec.service {
        let owner = format!("{at}.service");
        remarks.extend(own_loopback(service.local_resources.as_ref(), &owner));
        remarks.extend(fuse(&service.links, &owner));
    }
    for (index, entry) in spec.host_interfaces.iter().enumerate() {
        remarks.extend(interface(entry, format!("{at}.hostInterfaces[{index}]")));
    }
    remarks
}

fn forgotten_scheme(field: String, image: &str) -> Option<Remark> {
    let image = image.trim();
    let message = format!("`{0}` is taken for a repository in a registry; a file is written file://{0}", quote(image));
    ImageRef::looks_like_file(image).then_some(Remark { field, message })
}

/// Entries that were meant for the host's loopback, most likely.
fn own_loopback(local: Option<&LocalResources>, owner: &str) -> Vec<Remark> {
    let is_own = |entry: &str| match entry.parse::<AllowedHost>().map(|host| host.host) {
        Ok(HostPattern::Address(ip)) => classify(ip) == AddressClass::Loopback,
        Ok(HostPattern::Name(name)) => name.as_str() == "localhost" || name.as_str().ends_with(".localhost"),
        _ => false,
    };
    let entries = local.into_iter().flat_map(|local| local.allowed_hosts.iter().enumerate());
    let own = entries.filter(|(_, entry)| is_own(entry));
    own.map(|(index, entry)| Remark {
        field: format!("{owner}.localResources.allowedHosts[{index}]"),
        message: format!(
            "`{}` has no effect: loopback addresses are the workload's own and need no grant; for the host's, list the port under allowedHostLoopbackPorts and use the name {LOOPBACK_NAME}",
            quote(entry)
        ),
    })
    .collect()
}

/// Everything but `wasi:http/handler` is fused anyway.
fn fuse(links: &[LinkSpec], owner: &str) -> Vec<Remark> {
    let is_handler = |import: &str| matches!(import.parse(), Ok(ImportName::Interface(name)) if name.is("wasi", "http", "handler"));
    let asked = links.iter().enumerate().filter(|(_, link)| link.fuse && !is_handler(&link.import));
    asked
        .map(|(index, link)| {
            let message = format!(
                "has no effect on `{}`: it is for wasi:http/handler; other imports are fused wherever that is possible",
                quote(&link.import)
            );
            Remark { field: format!("{owner}.links[{index}].fuse"), message }
        })
        .collect()
}

fn interface(entry: &HostInterfaceSpec, field: String) -> Option<Remark> {
    if (entry.namespace.as_str(), entry.package.as_str()) == ("wasi", "config") {
        let unread = entry.name.as_ref().is_some_and(|name| !name.is_empty()) || !entry.interfaces.iter().any(|name| name == "store");
        let message = "has no effect: components read the values of an entry for interface `store` that has no `name`".to_owned();
        return unread.then_some(Remark { field, message });
    }
    if entry.namespace == "wasi" && PROVIDED.contains(&entry.package.as_str()) {
        return None;
    }
    let package = format!("{}:{}", quote(&entry.namespace), quote(&entry.package));
    let message = format!(
        "has no effect yet: host interfaces other than wasi:http and wasi:config come with later releases, and a component that imports {package} isn't started"
    );
    Some(Remark { field, message })
}
