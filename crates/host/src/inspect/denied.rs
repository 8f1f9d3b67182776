//! What a component imports a way to and was given nothing of, so that every attempt is denied; each with what would allow it (L39).
//!
//! A pure function of imports and grants. What is granted in part isn't here: whether it is enough shows when it is tried.

use std::collections::BTreeSet;

use berth_model::grants::{Grants, LOOPBACK_NAME, Protocol};
use berth_model::interface::InterfaceName;
use berth_model::workload::Resources;

use super::{Denied, GrantedVolume};
use crate::config::NetworkConfig;

/// What is denied to who imports `imports` from the host.
pub(super) fn denied<'a>(imports: impl Iterator<Item = &'a str>, resources: &Resources, network: &NetworkConfig) -> Vec<Denied> {
    let names: Vec<InterfaceName> = imports.filter_map(|import| import.parse().ok()).collect();
    let wants = |package: &str, interfaces: &[&str]| {
        let is_one =
            |name: &InterfaceName| name.namespace == "wasi" && name.package == package && interfaces.contains(&name.interface.as_str());
        names.iter().any(is_one)
    };
    let Grants { hosts, names: lookups, loopback_ports } = &resources.grants;
    let mut denied = Vec::new();
    let mut deny = |what: &str, why: String, grant: String| denied.push(Denied { what: what.to_owned(), why, grant });

    let speaks_http = hosts.iter().any(|host| ["http", "https"].iter().any(|scheme| host.matches_scheme(scheme)));
    if wants("http", &["outgoing-handler", "client"]) && !speaks_http && loopback_ports.is_empty() {
        let why = "every request that leaves the workload".to_owned();
        deny("outgoing HTTP", why, "allowedHosts: [\"https://HOST\"] in its localResources".to_owned());
    }
    for (what, interfaces, protocol) in
        [("TCP sockets", &["tcp-create-socket", "types"], Protocol::Tcp), ("UDP sockets", &["udp-create-socket", "types"], Protocol::Udp)]
    {
        let connects =
            hosts.iter().any(|host| host.matches_protocol(protocol)) || loopback_ports.iter().any(|port| port.protocol == protocol);
        if wants("sockets", interfaces) && !connects {
            let why = "every address but the workload's own loopback".to_owned();
            deny(what, why, format!("allowedHosts: [\"{protocol}://HOST:PORT\"] in its localResources"));
        }
    }
    if wants("sockets", &["ip-name-lookup"]) && lookups.is_empty() && loopback_ports.is_empty() {
        let why = "every name but localhost".to_owned();
        deny("name lookups", why, "allowedIpNameLookups: [\"NAME\"] in its localResources".to_owned());
    }
    for port in loopback_ports.iter().filter(|port| !network.loopback_ports.contains(port.port, port.protocol)) {
        let why = format!("{LOOPBACK_NAME}:{}: it is granted, and the host's owner doesn't open it", port.port);
        deny("host's loopback", why, format!("--host-loopback-ports {port} of the host"));
    }
    if wants("filesystem", &["preopens"]) && resources.mounts.is_empty() {
        deny("files", "it sees no folder".to_owned(), "volumeMounts in its localResources".to_owned());
    }
    if wants("cli", &["environment"]) && resources.environment.is_empty() {
        deny("environment", "it has no variables".to_owned(), "environment in its localResources".to_owned());
    }
    if wants("config", &["store"]) && resources.config.is_empty() {
        deny("configuration", "it has no values".to_owned(), "config in its localResources".to_owned());
    }
    denied
}

/// Takes the `forbidden` ones of the volumes that a manifest gives.
pub(super) fn forbidden(volumes: &mut Vec<GrantedVolume>, forbidden: &BTreeSet<String>) -> Vec<Denied> {
    let taken = volumes.extract_if(.., |volume| forbidden.contains(&volume.name));
    let denied = |GrantedVolume { name, host_path, .. }| {
        let path = host_path.unwrap_or_default();
        let why = format!("{path} of the host: it is mounted, and the host's owner doesn't allow that folder");
        Denied { what: format!("volume {name}"), why, grant: format!("--volume-root {path} of the host") }
    };
    taken.map(denied).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use berth_model::grants::PortSet;

    use super::*;

    const ALL: [&str; 8] = [
        "wasi:http/outgoing-handler@0.2.3",
        "wasi:sockets/tcp-create-socket@0.2.3",
        "wasi:sockets/udp-create-socket@0.2.3",
        "wasi:sockets/ip-name-lookup@0.2.3",
        "wasi:filesystem/preopens@0.2.3",
        "wasi:cli/environment@0.2.3",
        "wasi:config/store@0.2.0-rc.1",
        "wasi:io/streams@0.2.3",
    ];

    fn what(imports: &[&str], resources: &Resources) -> Vec<String> {
        let network = NetworkConfig { loopback_ports: PortSet::of(1024..=u16::MAX), ..NetworkConfig::default() };
        denied(imports.iter().copied(), resources, &network).into_iter().map(|denied| denied.what).collect()
    }

    #[test]
    fn l39_what_is_imported_and_not_granted_is_denied_and_names_its_grant() {
        let expected = ["outgoing HTTP", "TCP sockets", "UDP sockets", "name lookups", "files", "environment", "configuration"];
        assert_eq!(what(&ALL, &Resources::default()), expected);
        let found = denied(["wasi:http/client@0.3.0"].into_iter(), &Resources::default(), &NetworkConfig::default());
        assert!(found.len() == 1 && found[0].grant.contains("allowedHosts"), "{found:?}");
        assert_eq!(what(&["wasi:sockets/types@0.3.0"], &Resources::default()), ["TCP sockets", "UDP sockets"]);
    }

    #[test]
    fn what_is_not_imported_is_not_denied() {
        assert!(
            what(&["wasi:io/streams@0.2.3", "wasi:http/types@0.2.3", "acme:http/client@1.0.0", "odd"], &Resources::default()).is_empty()
        );
    }

    #[test]
    fn what_is_granted_is_not_denied_and_a_scheme_grants_its_own() {
        let grants = |hosts: &[&str]| Grants { hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(), ..Grants::default() };
        let with = |hosts: &[&str]| Resources { grants: grants(hosts), ..Resources::default() };
        let network = &ALL[..3];
        assert_eq!(what(network, &with(&["https://a.example"])), ["TCP sockets", "UDP sockets"]);
        assert_eq!(what(network, &with(&["tcp://a.example:1"])), ["outgoing HTTP", "UDP sockets"]);
        assert!(what(network, &with(&["a.example"])).is_empty());
        let values = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        let given = Resources { environment: values.clone(), config: values, ..Resources::default() };
        assert!(what(&["wasi:cli/environment@0.2.3", "wasi:config/store@0.2.0-draft"], &given).is_empty());
    }

    #[test]
    fn a_port_that_the_hosts_owner_does_not_open_is_denied_with_the_hosts_flag() {
        let ports = |text: &str| Grants { loopback_ports: vec![text.parse().unwrap()], ..Grants::default() };
        let with = |text: &str| Resources { grants: ports(text), ..Resources::default() };
        assert!(what(&[], &with("5432")).is_empty());
        assert_eq!(what(&[], &with("53/udp")), ["host's loopback"]);
    }

    #[test]
    fn l41_a_volume_that_the_hosts_owner_does_not_allow_is_denied_with_the_hosts_flag_and_not_given() {
        let volume = |name: &str, path: Option<&str>| GrantedVolume {
            name: name.into(),
            host_path: path.map(str::to_owned),
            ..GrantedVolume::default()
        };
        let mut volumes = vec![volume("scratch", None), volume("data", Some("/srv/data")), volume("pictures", Some("/srv/pictures"))];
        let found = forbidden(&mut volumes, &BTreeSet::from(["data".to_owned()]));
        assert!(found.len() == 1 && found[0].what == "volume data" && found[0].grant == "--volume-root /srv/data of the host", "{found:?}");
        assert_eq!(volumes.iter().map(|volume| volume.name.as_str()).collect::<Vec<_>>(), ["scratch", "pictures"]);
    }
}
