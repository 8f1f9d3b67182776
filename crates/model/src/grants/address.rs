//! Classes of addresses, and how far a grant reaches.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of network an address belongs to, by the IANA special-purpose registries (RFC 6890 and its updates).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// The internet.
    Public,
    /// This machine: 127.0.0.0/8, ::1.
    Loopback,
    /// This link, and the metadata services of clouds wherever they are: 169.254.0.0/16, fe80::/10.
    LinkLocal,
    /// The owner's own networks: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7, fec0::/10.
    Private,
    /// No address: 0.0.0.0, ::.
    Unspecified,
    /// A group: 224.0.0.0/4, ff00::/8.
    Multicast,
    /// Set aside: documentation, benchmarks, broadcast, future use.
    Reserved,
}

/// How far a name may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// To public addresses: what `*` and `*.suffix` give.
    PublicOnly,
    /// Also to private addresses: what an entry gives that names one host.
    Anywhere,
}

impl Reach {
    /// Whether `ip` is within reach. Loopback, link-local, metadata, unspecified, multicast and reserved addresses never are: a guest's
    /// loopback is its workload's own, and the host's is reached by its reserved name.
    pub fn permits(self, ip: IpAddr) -> bool {
        match classify(ip) {
            AddressClass::Public => true,
            AddressClass::Private => self == Reach::Anywhere,
            AddressClass::Loopback
            | AddressClass::LinkLocal
            | AddressClass::Unspecified
            | AddressClass::Multicast
            | AddressClass::Reserved => false,
        }
    }
}

/// The class of `ip`. An IPv6 address that stands for an IPv4 one (mapped, compatible, NAT64, 6to4) is of that one's class,
/// as that is where packets go.
pub fn classify(ip: IpAddr) -> AddressClass {
    match ip {
        IpAddr::V4(ip) => classify_v4(ip),
        IpAddr::V6(ip) => embedded_v4(ip).map_or_else(|| classify_v6(ip), classify_v4),
    }
}

/// An IPv4-mapped address as IPv4.
pub(super) fn unmapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

fn classify_v4(ip: Ipv4Addr) -> AddressClass {
    match ip.octets() {
        [0, 0, 0, 0] => AddressClass::Unspecified,
        [127, ..] => AddressClass::Loopback,
        // Metadata and wire servers outside of 169.254.0.0/16: Alibaba, Azure, Oracle.
        [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] | [169, 254, ..] => AddressClass::LinkLocal,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => AddressClass::Private,
        [224..=239, ..] => AddressClass::Multicast,
        // "This" network, protocol assignments, documentation, the old 6to4 relay, benchmarks, future use and broadcast.
        [0, ..] | [192, 0, 0, _] | [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => AddressClass::Reserved,
        [192, 88, 99, _] | [198, 18..=19, ..] | [240..=255, ..] => AddressClass::Reserved,
        _ => AddressClass::Public,
    }
}

fn classify_v6(ip: Ipv6Addr) -> AddressClass {
    /// Metadata services of AWS and Google Cloud.
    const METADATA: [Ipv6Addr; 2] = [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];
    if METADATA.contains(&ip) {
        return AddressClass::LinkLocal;
    }
    if ip.is_unspecified() {
        return AddressClass::Unspecified;
    }
    if ip.is_loopback() {
        return AddressClass::Loopback;
    }
    match ip.segments() {
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressClass::Private,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        // Protocol assignments (Teredo, ORCHID, benchmarks among them) and documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => AddressClass::Reserved,
        // Global unicast; nothing else has been given out, and NAT64 with a local prefix (RFC 8215) hides where it leads.
        [0x2000..=0x3fff, ..] => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

/// The IPv4 address that an IPv6 one stands for.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        // :: and ::1 are addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // Compatible, mapped (RFC 4291), translated (RFC 2765), NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => of(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of(high, low),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => of(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l40_addresses_are_of_the_class_that_packets_to_them_meet() {
        use AddressClass::*;
        let cases = [
            ("1.1.1.1", Public),
            ("172.15.0.1", Public),
            ("172.32.0.1", Public),
            ("100.128.0.1", Public),
            ("2606:4700::1111", Public),
            ("127.0.0.1", Loopback),
            ("127.255.0.1", Loopback),
            ("::1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("::127.0.0.1", Loopback),
            ("64:ff9b::7f00:1", Loopback),
            ("2002:7f00:1::", Loopback),
            ("64:ff9b:1::a00:1", Reserved),
            ("169.254.169.254", LinkLocal),
            ("fe80::1", LinkLocal),
            ("::ffff:169.254.169.254", LinkLocal),
            ("64:ff9b::a9fe:a9fe", LinkLocal),
            ("fd00:ec2::254", LinkLocal),
            ("fd20:ce::254", LinkLocal),
            ("100.100.100.200", LinkLocal),
            ("168.63.129.16", LinkLocal),
            ("10.0.0.1", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("fc00::1", Private),
            ("fdff::1", Private),
            ("fec0::1", Private),
            ("2002:a00:1::1", Private),
            ("0.0.0.0", Unspecified),
            ("::", Unspecified),
            ("::ffff:0.0.0.0", Unspecified),
            ("224.0.0.1", Multicast),
            ("239.1.1.1", Multicast),
            ("ff02::1", Multicast),
            ("0.1.2.3", Reserved),
            ("255.255.255.255", Reserved),
            ("240.0.0.1", Reserved),
            ("198.18.0.1", Reserved),
            ("192.0.2.1", Reserved),
            ("2001:db8::1", Reserved),
            ("2001::1", Reserved),
            ("3fff::1", Reserved),
            ("100::1", Reserved),
            ("4000::1", Reserved),
        ];
        for (ip, class) in cases {
            assert_eq!(classify(ip.parse().unwrap()), class, "{ip}");
        }
    }

    #[test]
    fn l40_no_reach_leads_to_metadata_services() {
        for ip in ["169.254.169.254", "fd00:ec2::254", "fe80::1", "0.0.0.0", "224.0.0.1", "255.255.255.255"] {
            assert!(!Reach::Anywhere.permits(ip.parse().unwrap()), "{ip}");
            assert!(!Reach::PublicOnly.permits(ip.parse().unwrap()), "{ip}");
        }
        let private: IpAddr = "10.0.0.1".parse().unwrap();
        assert!(Reach::Anywhere.permits(private) && !Reach::PublicOnly.permits(private));
    }
}
