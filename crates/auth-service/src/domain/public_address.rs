//! Which network addresses are on the public internet. What an administrator has us fetch must be there: everything
//! else is the inside of somebody's network, ours first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether this is an ordinary address of the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    let is_protocol = (first, second, third) == (192, 0, 0);
    let is_benchmark = first == 198 && (18..20).contains(&second);
    let is_relay = (first, second, third) == (192, 88, 99);
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast();
    // 0/8 means "this network", 240/4 is reserved and ends with the broadcast address.
    first != 0 && first < 240 && !is_special && !is_shared && !is_protocol && !is_benchmark && !is_relay
}

/// Only what is given out to networks, `2000::/3`, and of that nothing that carries another address inside.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, ..] = address.segments();
    let is_unicast = first & 0xe000 == 0x2000;
    let is_6to4 = first == 0x2002;
    // 2001::/23 holds Teredo, benchmarks and ORCHID; 2001:db8::/32 and 3fff::/20 are for documentation.
    let is_protocol = first == 0x2001 && second < 0x0200;
    let is_documentation = (first, second) == (0x2001, 0x0db8) || (first == 0x3fff && second < 0x1000);
    let is_nat64 = (first, second, third) == (0x0064, 0xff9b, 0);
    is_unicast && !is_6to4 && !is_protocol && !is_documentation && !is_nat64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_addresses_are_public() {
        for text in [
            "8.8.8.8",
            "140.82.121.3",
            "172.15.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn everything_inside_is_not() {
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2001::1",
            "64:ff9b::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "3fff::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }
}
