//! Which addresses belong together.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What one customer of a provider has: an IPv4 address, or 2^64 IPv6 addresses.
pub fn customer(address: IpAddr) -> IpAddr {
    masked(address, 32, 64)
}

/// Where somebody roughly is: their provider's addresses change within it.
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    masked(address, 24, 48)
}

fn masked(address: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - v4_bits))).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - v6_bits))).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_customer_are_one() {
        let of = |text: &str| {
            let address = text.parse().unwrap();
            (customer(address).to_string(), neighbourhood(address).to_string())
        };
        assert_eq!(
            of("2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2::".to_owned(), "2001:db8:1::".to_owned())
        );
        assert_eq!(
            of("::ffff:203.0.113.5"),
            ("203.0.113.5".to_owned(), "203.0.113.0".to_owned())
        );
    }
}
