//! Which addresses and URLs are fetched from.

use homing_registry::cards::guard::{AllowedNetwork, check, special};
use homing_registry::cards::target::{Target, TargetError};

#[test]
fn only_public_addresses_are_public() {
    for ip in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "169.254.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::10.1.2.3",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1",
        "100::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::1",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "2a00:1450::5efe:10.0.0.1",
        "2a00:1450::200:5efe:127.0.0.1",
    ] {
        assert!(special(ip.parse().unwrap()).is_some(), "{ip} passes for public");
    }
    for ip in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "128.0.0.1",
        "169.253.1.1",
        "172.15.1.1",
        "172.32.0.1",
        "192.0.1.1",
        "192.167.1.1",
        "198.17.1.1",
        "198.20.0.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450:4001::200e",
        "2001:4860:4860::8888",
        "64:ff9b::8.8.8.8",
        "::ffff:8.8.8.8",
        "3ffe::1",
        "3fff:1000::1",
        "2001:200::1",
    ] {
        assert_eq!(special(ip.parse().unwrap()), None, "{ip} is refused");
    }
}

#[test]
fn a_network_that_the_configuration_names_is_allowed_and_no_other() {
    let allowed: Vec<AllowedNetwork> =
        ["10.1.0.0/16", "127.0.0.1:8080", "fd00::/8", "[::1]:80", "192.168.0.7"]
            .map(|t| t.parse().unwrap())
            .into();
    for good in [
        "10.1.255.255:1",
        "127.0.0.1:8080",
        "[::ffff:127.0.0.1]:8080",
        "[fd12::1]:443",
        "[::1]:80",
        "192.168.0.7:9",
        "8.8.8.8:53",
    ] {
        assert_eq!(check(good.parse().unwrap(), &allowed), Ok(()), "{good}");
    }
    for bad in [
        "10.2.0.0:1",
        "127.0.0.1:8081",
        "127.0.0.2:8080",
        "[::1]:81",
        "[fe80::1]:80",
        "192.168.0.8:9",
    ] {
        assert!(check(bad.parse().unwrap(), &allowed).is_err(), "{bad}");
    }
    let all: AllowedNetwork = "0.0.0.0/0".parse().unwrap();
    assert_eq!(check("127.0.0.1:1".parse().unwrap(), &[all]), Ok(()));
    assert!(check("[::1]:1".parse().unwrap(), &[all]).is_err());
    for text in ["10.0.0.0/33", "::/129", "10.0.0/8", "localhost", "", "10.0.0.0/-1", "10.0.0.0/"] {
        assert!(text.parse::<AllowedNetwork>().is_err(), "{text}");
    }
    for text in ["10.0.0.0/8", "fd00::/8", "127.0.0.1:8080", "[::1]:80"] {
        assert_eq!(text.parse::<AllowedNetwork>().unwrap().to_string(), text);
    }
}

#[test]
fn a_url_is_what_it_means_before_anybody_looks_at_it() {
    let ip = |text: &str| Target::parse(text, true).unwrap().ip().map(|ip| ip.to_string());
    for text in [
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://１２７.0.0.1/",
        "http://127.0.0.1.:80/",
    ] {
        assert_eq!(ip(text).as_deref(), Some("127.0.0.1"), "{text}");
    }
    assert_eq!(ip("http://[::ffff:7f00:1]/").as_deref(), Some("::ffff:127.0.0.1"));
    assert_eq!(ip("https://example.com/"), None);
}

#[test]
fn urls_are_https_without_credentials_at_a_port_for_http() {
    let error = |text: &str| Target::parse(text, false).unwrap_err();
    for text in ["http://a.com/", "ftp://a.com/", "file:///etc/passwd", "gopher://a:70/", "data:,x"]
    {
        assert!(matches!(error(text), TargetError::Scheme { .. }), "{text}");
    }
    for text in ["https://user@a.com/", "https://user:pw@a.com/", "https://:pw@a.com/"] {
        assert_eq!(error(text), TargetError::Credentials, "{text}");
    }
    for port in [22, 25, 110, 6_000, 6_667, 10_080] {
        assert_eq!(error(&format!("https://a.com:{port}/")), TargetError::Port { port });
    }
    for text in
        ["/x", "", "https://", "https://a b/", &format!("https://a.com/{}", "x".repeat(3_000))]
    {
        assert!(matches!(error(text), TargetError::Url { .. }), "{text}");
    }
    let target = Target::parse("https://a.com:8443/x?y#z", false).unwrap();
    let parts = (target.authority(), target.path(), target.origin());
    assert_eq!(parts, ("a.com:8443".into(), "/x?y".into(), "https://a.com:8443".into()));
    assert_eq!(target.redirected("http://a.com/", true), Err(TargetError::Downgrade));
    assert_eq!(target.redirected("../b", true).unwrap().as_str(), "https://a.com:8443/b");
}
