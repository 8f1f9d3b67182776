//! Domains.

use std::borrow::Cow;

use berth_model::domain::Domain;
use proptest::prelude::*;

#[test]
fn a_domain_is_lower_case_without_port_and_trailing_dot() {
    let cases = [
        ("example.com", "example.com"),
        ("Example.COM:8080", "example.com"),
        ("example.com.", "example.com"),
        ("example.com.:80", "example.com"),
        ("localhost", "localhost"),
        ("example.com:", "example.com"),
        ("a_b.example", "a_b.example"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:8000", "[::1]"),
        ("[::1]", "[::1]"),
        ("::1", "[::1]"),
        ("[0:0:0:0:0:0:0:1]", "[::1]"),
        ("[2001:DB8::1]:443", "[2001:db8::1]"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ];
    for (text, domain) in cases {
        assert_eq!(text.parse::<Domain>().unwrap().as_str(), domain, "{text}");
        assert_eq!(Domain::of_authority(text).unwrap().as_str(), domain, "{text}");
    }
}

#[test]
fn what_is_no_domain_is_refused_with_the_way_out() {
    let long_label = "a".repeat(64);
    let long_name = ["a".repeat(63).as_str(); 4].join(".") + ".com";
    let cases = [
        ("", "empty"),
        (":80", "empty"),
        (".", "empty"),
        ("a..b", "1 to 63"),
        ("-a.com", "start or end"),
        ("a-.com", "start or end"),
        ("*.example.com", "wildcards"),
        ("http://example.com", "without scheme"),
        ("example.com/path", "without scheme"),
        ("bücher.example", "xn--"),
        ("a b", "only letters"),
        ("user@example.com", "only letters"),
        ("a:b", "only letters"),
        ("a:1:2", "only letters"),
        ("[::1", "IPv6"),
        ("[nope]", "IPv6"),
        (&long_label, "1 to 63"),
        (&long_name, "longer than 253"),
    ];
    for (text, reason) in cases {
        let error = text.parse::<Domain>().unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
        assert_eq!(Domain::of_authority(text), None, "{text}");
    }
}

#[test]
fn l37_a_normal_authority_is_matched_without_allocating() {
    for authority in ["example.com", "example.com:8080", "[::1]:80", "[::1]", "127.0.0.1:80", "example.com."] {
        assert!(matches!(Domain::normalize(authority), Cow::Borrowed(_)), "{authority}");
    }
    assert_eq!(Domain::normalize("EXAMPLE.com:1"), "example.com");
}

#[test]
fn a_domain_is_found_in_a_map_by_its_text() {
    let routes = std::collections::HashMap::from([("example.com".parse::<Domain>().unwrap(), 1)]);
    assert_eq!(routes.get(Domain::normalize("Example.com:80").as_ref()), Some(&1));
}

#[test]
fn json_carries_a_domain_as_text() {
    let domain: Domain = serde_json::from_str("\"Example.com\"").unwrap();
    assert_eq!(serde_json::to_string(&domain).unwrap(), "\"example.com\"");
    assert!(serde_json::from_str::<Domain>("\"a b\"").is_err());
}

proptest! {
    #[test]
    fn any_text_is_a_domain_or_an_error(text in any::<String>()) {
        let parsed = text.parse::<Domain>();
        let normal = Domain::normalize(&text);
        if let Ok(domain) = parsed {
            // A bare IPv6 address is a domain in a manifest, but no authority has one.
            prop_assert!(domain.as_str() == normal || text.parse::<std::net::Ipv6Addr>().is_ok());
        }
    }

    #[test]
    fn a_domain_reads_back_as_itself(text in "[a-zA-Z0-9_.:\\[\\]-]{0,40}") {
        if let Ok(domain) = text.parse::<Domain>() {
            prop_assert_eq!(&domain.to_string().parse::<Domain>().unwrap(), &domain);
            prop_assert_eq!(Domain::normalize(domain.as_str()), domain.as_str());
        }
    }

    #[test]
    fn port_and_case_make_no_difference(name in "[a-z][a-z0-9]{0,10}(\\.[a-z][a-z0-9]{0,10}){0,3}", port in any::<u16>()) {
        let domain: Domain = name.parse().unwrap();
        prop_assert_eq!(Domain::of_authority(&format!("{}:{port}", name.to_uppercase())), Some(domain));
    }
}
