//! How far an address reaches. Everything that is not plainly the public internet is not: the machine itself, its
//! network, addresses that only carry other addresses, and those that are for no host at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// A host of the public internet.
    Public,
    /// This machine.
    Loopback,
    /// A network of its own: RFC 1918, carrier-grade NAT (RFC 6598), unique local addresses (RFC 4193).
    Private,
    /// Only the link, where clouds keep the service that hands out credentials.
    Link,
    /// No single host, reserved, for documentation, or a form that carries another address.
    Special,
}

impl Reach {
    /// In words, behind "an address of".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "the public internet",
            Self::Loopback => "this machine",
            Self::Private => "a private network",
            Self::Link => "the local link",
            Self::Special => "no host of the public internet",
        }
    }
}

/// How far an address reaches.
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_4(address),
        IpAddr::V6(address) => reach_6(address),
    }
}

/// By the registry of special-purpose addresses of version 4 (IANA, RFC 6890).
fn reach_4(address: Ipv4Addr) -> Reach {
    let octets = address.octets();
    let [a, b, c, _] = octets;
    match octets {
        [127, ..] => Reach::Loopback,
        [169, 254, ..] => Reach::Link,
        [10, ..] | [192, 168, ..] => Reach::Private,
        // The metadata service of Alibaba Cloud stands in the range of carriers, that of Oracle in 192.0.0.0/24.
        _ if a == 172 && (16..32).contains(&b) => Reach::Private,
        _ if a == 100 && (64..128).contains(&b) => Reach::Private,
        [0, ..] | [192, 88, 99, _] => Reach::Special,
        // Groups, reserved, broadcast.
        _ if a >= 224 => Reach::Special,
        _ if a == 192 && b == 0 && (c == 0 || c == 2) => Reach::Special,
        _ if a == 198 && (b == 18 || b == 19) => Reach::Special,
        [198, 51, 100, _] | [203, 0, 113, _] => Reach::Special,
        _ => Reach::Public,
    }
}

/// By the registry of special-purpose addresses of version 6. Only 2000::/3 is given to hosts at all.
fn reach_6(address: Ipv6Addr) -> Reach {
    if let Some(inner) = address.to_ipv4_mapped() {
        return reach_4(inner);
    }
    let segments = address.segments();
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        [0xfe80..=0xfebf, ..] => Reach::Link,
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Reach::Private,
        // Teredo, benchmarks, ORCHID, documentation, 6to4: they carry other addresses or belong to nobody.
        [0x2001, 0x0000..=0x01ff | 0xdb8, ..] | [0x2002 | 0x3fff, ..] => Reach::Special,
        [0x2000..=0x3fff, ..] => Reach::Public,
        // What is left has no hosts: NAT64 (64:ff9b::/96), old mappings, multicast, the unspecified address.
        _ => Reach::Special,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        use Reach::{Link, Loopback, Private, Public, Special};
        for (text, expected) in [
            ("1.1.1.1", Public),
            ("8.8.8.8", Public),
            ("172.15.0.1", Public),
            ("172.32.0.1", Public),
            ("100.63.255.255", Public),
            ("100.128.0.0", Public),
            ("192.0.1.1", Public),
            ("127.0.0.1", Loopback),
            ("127.255.255.255", Loopback),
            ("0.0.0.0", Special),
            ("0.1.2.3", Special),
            ("10.0.0.1", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("100.100.100.200", Private),
            ("169.254.169.254", Link),
            ("192.0.0.192", Special),
            ("192.0.2.1", Special),
            ("192.88.99.1", Special),
            ("198.18.0.1", Special),
            ("198.51.100.1", Special),
            ("203.0.113.1", Special),
            ("224.0.0.1", Special),
            ("239.255.255.255", Special),
            ("240.0.0.1", Special),
            ("255.255.255.255", Special),
            ("2606:4700::1", Public),
            ("2a00:1450::1", Public),
            ("::1", Loopback),
            ("::", Special),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:169.254.169.254", Link),
            ("::ffff:8.8.8.8", Public),
            ("::127.0.0.1", Special),
            ("64:ff9b::7f00:1", Special),
            ("64:ff9b:1::1", Special),
            ("fd00:ec2::254", Private),
            ("fc00::1", Private),
            ("fe80::1", Link),
            ("fec0::1", Private),
            ("ff02::1", Special),
            ("2001::1", Special),
            ("2001:db8::1", Special),
            ("2002:7f00:1::1", Special),
            ("3fff::1", Special),
            ("4000::1", Special),
        ] {
            assert_eq!(reach(text.parse().unwrap()), expected, "{text}");
        }
    }
}
