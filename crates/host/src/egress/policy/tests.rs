//! Attempts to get past the policy: by addresses in every disguise, by names that lead inside, and by whatever proptest comes up with.

use std::net::ToSocketAddrs;

use berth_model::grants::{AddressClass, AllowedHost, classify};
use proptest::prelude::*;

use super::*;

/// What a component is granted, and what the host's owner allows.
#[derive(Debug, Default)]
struct Setup {
    grants: Grants,
    listens: bool,
    network: NetworkConfig,
}

impl Setup {
    fn hosts(hosts: &[&str]) -> Setup {
        let hosts = hosts.iter().map(|host| host.parse::<AllowedHost>().unwrap()).collect();
        Setup { grants: Grants { hosts, ..Grants::default() }, ..Setup::default() }
    }

    fn loopback_ports(mut self, granted: &[&str], allowed: &str) -> Setup {
        self.grants.loopback_ports = granted.iter().map(|port| port.parse().unwrap()).collect();
        self.network.loopback_ports = allowed.parse().unwrap();
        self
    }

    fn service(ports: &str) -> Setup {
        let network = NetworkConfig { service_ports: ports.parse().unwrap(), ..NetworkConfig::default() };
        Setup { listens: true, network, ..Setup::default() }
    }

    fn policy(&self) -> Policy<'_> {
        Policy { grants: &self.grants, listens: self.listens, network: &self.network }
    }

    fn tcp(&self, to: &str) -> Result<Way, Denial> {
        self.policy().socket(addr(to), Protocol::Tcp, &[])
    }

    /// Where a URL leads once its name has resolved to `found`.
    fn fetch(&self, host: &str, port: u16, found: &[&str]) -> Result<Vec<Way>, Denial> {
        let policy = self.policy();
        match policy.http("http", host, port)? {
            Destination::Ways(ways) => Ok(ways),
            Destination::Name(reach) => {
                let found: Vec<IpAddr> = found.iter().map(|ip| ip.parse().unwrap()).collect();
                policy.resolved(host, &found, port, reach)
            }
        }
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn known(name: &str, ip: &str) -> Vec<(Arc<str>, IpAddr)> {
    vec![(name.into(), ip.parse().unwrap())]
}

#[test]
fn l40_nothing_granted_leads_nowhere_but_to_the_workloads_own_loopback() {
    let none = Setup::default();
    for to in ["93.184.216.34:80", "10.0.0.1:80", "169.254.169.254:80", "192.0.0.8:80", "[100::8]:80", "0.0.0.0:80", "[::]:80"] {
        assert!(none.tcp(to).is_err() && none.policy().socket(addr(to), Protocol::Udp, &[]).is_err(), "{to}");
    }
    for (to, own) in [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("127.255.1.2:80", "127.255.1.2:80"),
        ("[::1]:80", "[::1]:80"),
        ("[::1%3]:80", "[::1]:80"),
        ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
    ] {
        assert_eq!(none.tcp(to), Ok(Way::Loopback(addr(own))), "{to}");
    }
    assert_eq!(none.fetch("localhost", 80, &[]).unwrap(), [Way::Loopback(addr("127.0.0.1:80")), Way::Loopback(addr("[::1]:80"))]);
    assert_eq!(none.fetch("::ffff:127.0.0.1", 80, &[]).unwrap(), [Way::Loopback(addr("127.0.0.1:80"))]);
    for name in ["localhost", "db.localhost"] {
        assert_eq!(none.policy().lookup(name), Ok(Lookup::Fixed(LOCAL_ADDRESSES.into())), "{name}");
    }
    for name in ["example.com", "notlocalhost", "localhost.example.com", LOOPBACK_NAME, "10.0.0.1"] {
        assert!(none.policy().lookup(name).is_err() && none.fetch(name, 80, &["1.1.1.1"]).is_err(), "{name}");
    }
}

#[test]
fn l40_a_granted_name_covers_the_addresses_it_resolved_to() {
    let setup = Setup::hosts(&["db.example.com:5432"]);
    let known = known("db.example.com", "10.1.2.3");
    let connect = |to: &str| setup.policy().socket(addr(to), Protocol::Tcp, &known).is_ok();
    assert!(connect("10.1.2.3:5432"));
    assert!(!connect("10.1.2.3:5433") && !connect("10.1.2.4:5432"));
}

#[test]
fn l40_a_wildcard_leads_to_no_private_or_metadata_address_whatever_its_names_are_bound_to() {
    let setup = Setup::hosts(&["*.example.com"]);
    for ip in ["10.0.0.1", "169.254.169.254", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "fe80::1", "fd00:ec2::254"]
    {
        let known = known("rebind.example.com", ip);
        let to = SocketAddr::new(ip.parse().unwrap(), 80);
        assert!(setup.policy().socket(to, Protocol::Tcp, &known).is_err(), "{ip}");
        assert!(setup.fetch("rebind.example.com", 80, &[ip]).is_err(), "{ip}");
    }
    let both = setup.fetch("rebind.example.com", 80, &["127.0.0.1", "1.1.1.1", "10.0.0.1"]).unwrap();
    assert_eq!(both, [Way::Network(addr("1.1.1.1:80"))], "what is out of reach isn't tried");
}

#[test]
fn l40_a_name_that_is_bound_to_a_loopback_address_leads_neither_to_the_hosts_nor_to_the_workloads() {
    let setup = Setup::hosts(&["*", "rebind.example.com", "127.0.0.1", "[::1]:80"]).loopback_ports(&["80"], "80");
    for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "192.0.0.8", "100::8", "0.0.0.0", "::"] {
        let denial = setup.fetch("rebind.example.com", 80, &[ip]).unwrap_err();
        assert!(denial.to_string().contains("where no grant leads"), "{denial}");
    }
    // By sockets the guest names the address itself, so it gets what that address is to it.
    let known = known("rebind.example.com", "127.0.0.1");
    assert_eq!(setup.policy().socket(addr("127.0.0.1:80"), Protocol::Tcp, &known), Ok(Way::Loopback(addr("127.0.0.1:80"))));
}

/// What a resolver makes of addresses that are written in ways of old.
#[test]
fn l40_addresses_written_as_numbers_lead_where_they_mean() {
    let setup = Setup::hosts(&["*", "2130706433", "0177.0.0.1", "127.1", "0xa9fea9fe", "2852039166"]);
    for host in ["2130706433", "0177.0.0.1", "127.1", "0xa9fea9fe", "2852039166", "0x7f000001"] {
        assert!(matches!(setup.policy().http("http", host, 80), Ok(Destination::Name(_))), "{host} is no address to Berth");
        let found = (host, 0).to_socket_addrs().map(|found| found.map(|addr| addr.ip().to_string()).collect::<Vec<_>>());
        let found = found.unwrap_or_default();
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert!(setup.fetch(host, 80, &found).map_or(true, |ways| ways.is_empty()), "{host}: {found:?}");
    }
}

#[test]
fn l40_a_zone_changes_nothing() {
    let setup = Setup::hosts(&["*", "[fe80::1]", "[fd00::1]"]);
    assert!(setup.tcp("[fe80::1%2]:80").is_err());
    assert_eq!(setup.tcp("[fd00::1%2]:80"), Ok(Way::Network(addr("[fd00::1]:80"))), "and goes no further than the policy");
    assert!(setup.fetch("fe80::1%eth0", 80, &["fe80::1"]).is_err());
}

#[test]
fn l39_the_hosts_loopback_is_open_where_the_component_and_the_hosts_owner_say_so_both() {
    let open = |granted: &[&str], allowed: &str| Setup::hosts(&["*"]).loopback_ports(granted, allowed);
    let both = open(&["5432", "53/udp"], "5000-6000/tcp,53");
    for (stands_for, real) in [("192.0.0.8:5432", "127.0.0.1:5432"), ("[100::8]:5432", "[::1]:5432")] {
        assert_eq!(both.tcp(stands_for), Ok(Way::Host(addr(real))));
        assert!(both.policy().socket(addr(stands_for), Protocol::Udp, &[]).is_err());
    }
    assert_eq!(both.policy().socket(addr("192.0.0.8:53"), Protocol::Udp, &[]), Ok(Way::Host(addr("127.0.0.1:53"))));
    assert_eq!(both.policy().lookup(LOOPBACK_NAME), Ok(Lookup::Fixed(HOST_ADDRESSES.into())));
    let ways = both.fetch(LOOPBACK_NAME, 5432, &[]).unwrap();
    assert_eq!(ways, [Way::Host(addr("127.0.0.1:5432")), Way::Host(addr("[::1]:5432"))]);

    let denials = [
        (open(&[], "5432"), "add \"5432/tcp\" to the component's localResources.allowedHostLoopbackPorts"),
        (open(&["5432"], ""), "--host-loopback-ports 5432/tcp"),
        (open(&["5432/udp"], "5432"), "add \"5432/tcp\""),
        (open(&["5432"], "5432/udp"), "--host-loopback-ports 5432/tcp"),
    ];
    for (setup, way) in denials {
        for denial in [setup.tcp("192.0.0.8:5432").unwrap_err(), setup.fetch(LOOPBACK_NAME, 5432, &[]).unwrap_err()] {
            assert!(denial.to_string().contains(way), "{denial}");
        }
        assert_eq!(setup.tcp("127.0.0.1:5432"), Ok(Way::Loopback(addr("127.0.0.1:5432"))), "127.0.0.1 is the workload's, always");
    }
}

#[test]
fn l40_datagrams_come_in_from_where_they_may_go_out_to() {
    let setup = Setup::hosts(&["udp://10.0.0.1:53"]).loopback_ports(&["54/udp"], "54");
    let sender = |from: &str| setup.policy().sender(addr(from), &[]);
    assert_eq!(sender("10.0.0.1:53"), Some(addr("10.0.0.1:53")));
    assert_eq!(sender("127.0.0.1:54"), Some(addr("192.0.0.8:54")), "under the address that it was sent to");
    assert_eq!(sender("[::1]:54"), Some(addr("[100::8]:54")));
    for other in ["10.0.0.1:54", "10.0.0.2:53", "127.0.0.1:53", "192.0.0.8:54", "1.1.1.1:53"] {
        assert_eq!(sender(other), None, "{other}");
    }
}

#[test]
fn components_take_free_ports_and_services_any_and_none_takes_an_address_of_the_host() {
    let (component, service) = (Setup::default(), Setup::service(""));
    for any in ["0.0.0.0:0", "127.0.0.1:0", "[::]:0", "[::1]:0"] {
        assert!(component.policy().bind(addr(any)).is_ok() && service.policy().bind(addr(any)).is_ok(), "{any}");
        assert!(component.policy().listen(addr(any)).is_err() && service.policy().listen(addr(any)).is_ok(), "{any}");
    }
    for port in ["0.0.0.0:80", "127.0.0.1:8080", "[::1]:80"] {
        assert!(component.policy().bind(addr(port)).is_err() && service.policy().bind(addr(port)).is_ok(), "{port}");
    }
    for host in ["10.0.0.1:0", "192.168.1.1:80", "1.1.1.1:80", "[fe80::1]:0", "169.254.1.1:0", "192.0.0.8:80"] {
        assert!(component.policy().bind(addr(host)).is_err() && service.policy().bind(addr(host)).is_err(), "{host}");
    }
}

#[test]
fn a_service_is_let_out_to_the_ports_that_the_hosts_owner_allows_if_it_listens_everywhere() {
    let some = Setup::service("9000-9010/tcp,53");
    let at = |to: &str, protocol| some.policy().published(addr(to), protocol);
    assert_eq!(at("0.0.0.0:9000", Protocol::Tcp), Some(addr("127.0.0.1:9000")));
    assert_eq!(at("0.0.0.0:53", Protocol::Udp), Some(addr("127.0.0.1:53")));
    for (to, protocol) in
        [("127.0.0.1:9000", Protocol::Tcp), ("0.0.0.0:9011", Protocol::Tcp), ("0.0.0.0:9000", Protocol::Udp), ("[::]:9000", Protocol::Tcp)]
    {
        assert_eq!(at(to, protocol), None, "{to}");
    }
    let component = Setup { listens: false, ..Setup::service("1-65535") };
    assert_eq!(component.policy().published(addr("0.0.0.0:9000"), Protocol::Tcp), None);
}

fn any_ip() -> impl Strategy<Value = IpAddr> {
    let v4 = any::<u32>().prop_map(|bits| IpAddr::V4(bits.into()));
    // Those that stand for IPv4 addresses in one way or another are rare among all.
    let disguised = (any::<u32>(), 0..5u8).prop_map(|(bits, how)| {
        let [high, low] = [(bits >> 16) as u16, bits as u16];
        IpAddr::V6(match how {
            0 => Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
            1 => Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            2 => Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            3 => Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            _ => Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
        })
    });
    let inside = prop_oneof![
        Just("127.0.0.1"),
        Just("127.8.8.8"),
        Just("::1"),
        Just("::ffff:127.0.0.1"),
        Just("10.0.0.1"),
        Just("192.168.0.1"),
        Just("169.254.169.254"),
        Just("::ffff:169.254.169.254"),
        Just("fd00:ec2::254"),
        Just("fe80::1"),
        Just("0.0.0.0"),
        Just("::"),
        Just("192.0.0.8"),
        Just("100::8"),
        Just("::ffff:192.0.0.8"),
        Just("64:ff9b::7f00:1"),
        Just("224.0.0.1"),
        Just("255.255.255.255"),
    ];
    prop_oneof![v4, any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())), disguised, inside.prop_map(|ip| ip.parse().unwrap())]
}

fn any_grants() -> impl Strategy<Value = Setup> {
    let entry = prop_oneof![
        Just("*".to_owned()),
        Just("*.example.com".to_owned()),
        Just("rebind.example.com".to_owned()),
        Just("localhost".to_owned()),
        Just("127.0.0.1".to_owned()),
        Just("[::1]".to_owned()),
        Just("169.254.169.254".to_owned()),
        Just("192.0.0.8".to_owned()),
        Just("[100::8]".to_owned()),
        Just("tcp://10.0.0.1:80".to_owned()),
        any_ip().prop_map(|ip| if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }),
    ];
    (proptest::collection::vec(entry, 0..6), any::<bool>(), any::<bool>()).prop_map(|(hosts, granted, allowed)| {
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let granted: &[&str] = if granted { &["80", "80/udp"] } else { &[] };
        Setup::hosts(&hosts).loopback_ports(granted, if allowed { "80" } else { "" })
    })
}

/// Whether a way may be taken at all, whatever is granted.
fn is_sound(way: Way, setup: &Setup, port: u16) -> bool {
    match way {
        Way::Loopback(to) => is_loopback(to.ip()),
        Way::Host(to) => {
            let open = |protocol| setup.grants.allows_loopback(port, protocol) && setup.network.loopback_ports.contains(port, protocol);
            is_loopback(to.ip()) && (open(Protocol::Tcp) || open(Protocol::Udp))
        }
        // The only one that leaves the host, or reaches the rest of it.
        Way::Network(to) => matches!(classify(to.ip()), AddressClass::Public | AddressClass::Private),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn l40_no_address_and_no_grant_leads_a_socket_inside(setup in any_grants(), ip in any_ip(), port in prop_oneof![Just(80u16), any::<u16>()], name in prop_oneof![Just("rebind.example.com"), Just("localhost"), Just(LOOPBACK_NAME)]) {
        let to = SocketAddr::new(ip, port);
        for known in [known(name, &ip.to_string()), Vec::new()] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                if let Ok(way) = setup.policy().socket(to, protocol, &known) {
                    prop_assert!(is_sound(way, &setup, port), "{to} leads to {way:?}");
                }
            }
            if let Some(from) = setup.policy().sender(to, &known) {
                prop_assert!(!is_loopback(from.ip()), "a datagram of the host's network seems to come from the workload's");
            }
        }
    }

    #[test]
    fn l40_no_name_and_no_grant_leads_a_url_inside(setup in any_grants(), found in proptest::collection::vec(any_ip(), 0..4), port in prop_oneof![Just(80u16), any::<u16>()], name in prop_oneof![Just("rebind.example.com".to_owned()), Just("a.example.com".to_owned()), Just("localhost".to_owned()), Just(LOOPBACK_NAME.to_owned()), any_ip().prop_map(|ip| ip.to_string())]) {
        let found: Vec<String> = found.iter().map(IpAddr::to_string).collect();
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        for way in setup.fetch(&name, port, &found).unwrap_or_default() {
            prop_assert!(is_sound(way, &setup, port), "{name} at {found:?} leads to {way:?}");
            let own = name == "localhost" || name.parse().is_ok_and(is_loopback);
            prop_assert_eq!(matches!(way, Way::Loopback(_)), own, "a name that somebody else controls leads to the workload's own loopback");
        }
    }

    #[test]
    fn l40_a_public_reach_stays_public(ip in any_ip()) {
        if let Ok(Way::Network(to)) = Setup::hosts(&["*", "*.example.com"]).policy().socket(SocketAddr::new(ip, 80), Protocol::Tcp, &known("a.example.com", &ip.to_string())) {
            prop_assert_eq!(classify(to.ip()), AddressClass::Public);
        }
    }

    #[test]
    fn any_text_is_a_name_that_leads_somewhere_or_a_denial(setup in any_grants(), name in any::<String>(), port in any::<u16>()) {
        let _ = setup.policy().lookup(&name);
        for way in setup.fetch(&name, port, &["10.0.0.1", "127.0.0.1", "1.1.1.1"]).unwrap_or_default() {
            prop_assert!(is_sound(way, &setup, port));
        }
    }
}

/// L39: an entry that would change nothing isn't proposed.
#[test]
fn l39_a_denial_proposes_no_grant_that_could_not_lead_there() {
    let none = Setup::default();
    let said = |denied: Result<Way, Denial>| denied.unwrap_err().to_string();
    assert_eq!(said(none.tcp("169.254.169.254:80")), "socket to 169.254.169.254:80 denied: no grant leads to such an address");
    assert!(said(none.tcp("10.0.0.1:22")).contains("add \"10.0.0.1:22\" to the component's localResources.allowedHosts"));
    let fetch = |host| none.fetch(host, 80, &[]).unwrap_err().to_string();
    assert_eq!(fetch("169.254.169.254"), "request to http://169.254.169.254:80 denied: no grant leads to such an address");
    assert!(fetch("10.0.0.1").contains("add \"10.0.0.1\" to"), "{}", fetch("10.0.0.1"));
    assert!(fetch("api.example.com").contains("add \"api.example.com\" to"));
}
