//! Grants: the grammar of their entries and what they allow.

use std::net::{IpAddr, SocketAddr};

use berth_model::grants::{AllowedHost, AllowedName, Grants, LOOPBACK_NAME, LoopbackPort, Protocol, Reach};
use proptest::prelude::*;

fn hosts(entries: &[&str]) -> Grants {
    Grants { hosts: entries.iter().map(|entry| entry.parse().unwrap()).collect(), ..Grants::default() }
}

fn names(entries: &[&str]) -> Grants {
    Grants { names: entries.iter().map(|entry| entry.parse().unwrap()).collect(), ..Grants::default() }
}

fn loopback(entries: &[&str]) -> Grants {
    Grants { loopback_ports: entries.iter().map(|entry| entry.parse().unwrap()).collect(), ..Grants::default() }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn l39_nothing_is_allowed_by_default() {
    let none = Grants::default();
    assert!(!none.allows_http("https", "example.com", 443));
    assert!(!none.allows_lookup("example.com"));
    assert!(!none.allows_lookup(LOOPBACK_NAME));
    assert!(!none.allows_address(addr("1.1.1.1:53"), Protocol::Udp));
    assert!(!none.allows_loopback(80, Protocol::Tcp));
}

#[test]
fn an_allowed_host_is_read_by_its_grammar() {
    let good = [
        "*",
        "example.com",
        "EXAMPLE.com",
        "https://example.com",
        "HTTPS://example.com/",
        "example.com:8443",
        "https://example.com:8443/",
        "*.example.com",
        "http://*.example.com:80",
        "10.0.0.1",
        "10.0.0.1:5432",
        "::1",
        "[::1]",
        "[::1]:443",
        "tcp://10.0.0.1:5432",
        "localhost:8000",
        "host.wasmcloud.internal:8931",
    ];
    for text in good {
        let entry: AllowedHost = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(entry.to_string().parse::<AllowedHost>().unwrap(), entry, "{text}");
    }
}

#[test]
fn an_allowed_host_with_more_or_less_than_the_grammar_is_refused() {
    let bad = [
        "",
        "/",
        "*foo",
        "*.",
        "**",
        "*.*.com",
        "a.*.com",
        "foo*",
        "*:443",
        "https://*",
        "https://",
        "://example.com",
        "1a://example.com",
        "https://example.com/path",
        "example.com/path",
        "example.com//",
        "example.com?q",
        "example.com#f",
        "user@example.com",
        "example.com:0",
        "example.com:65536",
        "example.com:",
        "example.com:+80",
        "example.com:http",
        "*.10.0.0.1",
        "a b",
        "-a.com",
        ":80",
        "[::1",
    ];
    for text in bad {
        let result = text.parse::<AllowedHost>();
        assert!(result.is_err(), "{text} was read as {result:?}");
    }
}

#[test]
fn an_entry_matches_scheme_host_and_port_and_what_it_leaves_out_may_be_any() {
    let plain = hosts(&["example.com"]);
    assert!(plain.allows_http("https", "example.com", 443));
    assert!(plain.allows_http("http", "EXAMPLE.com.", 8080));
    assert!(!plain.allows_http("https", "www.example.com", 443));
    assert!(!plain.allows_http("https", "example.com.evil.org", 443));

    let exact = hosts(&["https://example.com:8443"]);
    assert!(exact.allows_http("HTTPS", "example.com", 8443));
    assert!(!exact.allows_http("http", "example.com", 8443));
    assert!(!exact.allows_http("https", "example.com", 443));
}

#[test]
fn a_wildcard_matches_names_below_it_and_not_itself() {
    let grants = hosts(&["*.example.com"]);
    assert!(grants.allows_http("https", "a.example.com", 443));
    assert!(grants.allows_http("https", "a.b.example.com", 443));
    assert!(!grants.allows_http("https", "example.com", 443));
    assert!(!grants.allows_http("https", ".example.com", 443));
    assert!(!grants.allows_http("https", "badexample.com", 443));
}

#[test]
fn l40_wildcards_lead_to_public_addresses_and_exact_names_also_to_private_ones() {
    let private: IpAddr = "10.1.2.3".parse().unwrap();
    let metadata: IpAddr = "169.254.169.254".parse().unwrap();
    for wide in [hosts(&["*"]), hosts(&["*.example.com"])] {
        let reach = wide.http_decision("https", "a.example.com", 443).unwrap();
        assert_eq!(reach, Reach::PublicOnly);
        assert!(!reach.permits(private) && !reach.permits(metadata));
    }
    let reach = hosts(&["*", "a.example.com"]).http_decision("https", "a.example.com", 443).unwrap();
    assert_eq!(reach, Reach::Anywhere);
    assert!(reach.permits(private) && !reach.permits(metadata));
}

#[test]
fn l40_a_literal_address_is_checked_like_a_resolved_one() {
    let any = hosts(&["*"]);
    assert!(any.allows_http("http", "1.1.1.1", 80));
    for inside in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "::ffff:127.0.0.1", "[::ffff:a9fe:a9fe]", "[64:ff9b::a00:1]"] {
        assert!(!any.allows_http("http", inside, 80), "{inside}");
    }
    let named = hosts(&["10.0.0.1:8080", "169.254.169.254", "127.0.0.1", "[::1]", "localhost"]);
    assert!(named.allows_http("http", "10.0.0.1", 8080));
    assert!(named.allows_http("http", "[::ffff:10.0.0.1]", 8080));
    assert!(!named.allows_http("http", "10.0.0.1", 80));
    assert!(!named.allows_http("http", "169.254.169.254", 80), "metadata is never reached");
    for own in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"] {
        assert!(!named.allows_http("http", own, 80), "no network leads to {own}: a guest's loopback is its workload's");
        let ip = own.trim_matches(['[', ']']).parse().unwrap();
        assert!(!named.allows_address(SocketAddr::new(ip, 80), Protocol::Tcp), "{own}");
    }
}

#[test]
fn l40_sockets_go_to_addresses_that_are_named_or_to_public_ones() {
    let any = hosts(&["*"]);
    assert!(any.allows_address(addr("1.1.1.1:53"), Protocol::Udp));
    assert!(!any.allows_address(addr("10.0.0.1:5432"), Protocol::Tcp));
    assert!(!any.allows_address(addr("[::ffff:10.0.0.1]:5432"), Protocol::Tcp));

    let one = hosts(&["10.0.0.1:5432", "tcp://10.0.0.2", "https://10.0.0.3", "db.example.com"]);
    assert!(one.allows_address(addr("10.0.0.1:5432"), Protocol::Tcp));
    assert!(one.allows_address(addr("[::ffff:10.0.0.1]:5432"), Protocol::Udp));
    assert!(!one.allows_address(addr("10.0.0.1:5433"), Protocol::Tcp));
    assert!(one.allows_address(addr("10.0.0.2:1"), Protocol::Tcp));
    assert!(!one.allows_address(addr("10.0.0.2:1"), Protocol::Udp));
    assert!(!one.allows_address(addr("10.0.0.3:443"), Protocol::Tcp), "an HTTP entry opens no sockets");
}

#[test]
fn names_are_looked_up_by_entries_without_scheme_and_port() {
    let grants = names(&["*.example.com", "db.internal", "10.0.0.1"]);
    assert!(grants.allows_lookup("A.example.com."));
    assert!(grants.allows_lookup("db.internal"));
    assert!(grants.allows_lookup("10.0.0.1"));
    for denied in ["example.com", "example.org", "10.0.0.2", "", LOOPBACK_NAME] {
        assert!(!grants.allows_lookup(denied), "{denied}");
    }
    assert!(names(&["*"]).allows_lookup("anything.example"));
    for bad in ["https://example.com", "example.com:53", "*foo", "", "a b", "example.com/"] {
        assert!(bad.parse::<AllowedName>().is_err(), "{bad}");
    }
}

#[test]
fn loopback_ports_are_granted_one_by_one_and_only_under_the_reserved_name() {
    let grants = loopback(&["5432", "53/udp", "80/tcp"]);
    assert!(grants.allows_loopback(5432, Protocol::Tcp) && grants.allows_loopback(80, Protocol::Tcp));
    assert!(grants.allows_loopback(53, Protocol::Udp));
    assert!(!grants.allows_loopback(5432, Protocol::Udp) && !grants.allows_loopback(53, Protocol::Tcp));
    assert!(grants.allows_lookup("Host.wasmcloud.internal"));
    assert!(!hosts(&["*", LOOPBACK_NAME]).allows_http("http", LOOPBACK_NAME, 80), "allowedHosts doesn't open the loopback");
    for bad in ["", "0", "65536", "-1", "+1", "http", "53/", "53/sctp", "/udp", "53/tcp/udp", " 53"] {
        assert!(bad.parse::<LoopbackPort>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_grant_or_an_error(text in any::<String>()) {
        let _ = text.parse::<AllowedHost>();
        let _ = text.parse::<AllowedName>();
        let _ = text.parse::<LoopbackPort>();
        let grants = hosts(&["*", "example.com"]);
        grants.allows_http(&text, &text, 80);
        grants.allows_lookup(&text);
    }

    #[test]
    fn an_entry_reads_back_as_itself(text in "([a-zA-Z]{1,5}://)?(\\*|\\*\\.)?[a-zA-Z0-9.:\\[\\]-]{0,20}(:[0-9]{1,5})?/?") {
        if let Ok(entry) = text.parse::<AllowedHost>() {
            prop_assert_eq!(entry.to_string().parse::<AllowedHost>().unwrap(), entry);
        }
        if let Ok(entry) = text.parse::<AllowedName>() {
            prop_assert_eq!(entry.to_string().parse::<AllowedName>().unwrap(), entry);
        }
    }

    #[test]
    fn l40_no_wildcard_reaches_inside_whatever_the_address_is_written_as(bits in any::<u128>(), v4 in any::<u32>()) {
        let any = hosts(&["*", "*.example.com"]);
        for ip in [IpAddr::V6(bits.into()), IpAddr::V4(v4.into()), IpAddr::V6(std::net::Ipv4Addr::from(v4).to_ipv6_mapped())] {
            let public = berth_model::grants::classify(ip) == berth_model::grants::AddressClass::Public;
            prop_assert_eq!(any.allows_http("http", &ip.to_string(), 80), public);
            prop_assert_eq!(any.allows_address(SocketAddr::new(ip, 80), Protocol::Tcp), public);
        }
    }
}
