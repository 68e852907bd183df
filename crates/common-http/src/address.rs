//! The address a request really comes from.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::{IpAddr, Ipv4Addr},
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use ipnet::IpNet;

/// Who may say, by `X-Forwarded-For`, for whom they call (`TRUSTED_PROXIES`); empty: nobody.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    /// Whether what this peer says of the client is believed.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }

    /// The nearest hop we do not trust: what stands left of it in the header, anybody could have written.
    fn client(&self, peer: IpAddr, forwarded: &[&str]) -> IpAddr {
        let mut client = peer;
        let hops = forwarded.iter().rev().flat_map(|header| header.rsplit(','));
        for hop in hops {
            if !self.contains(client) {
                break;
            }
            match hop.trim().parse() {
                Ok(address) => client = address,
                Err(_) => break,
            }
        }
        client
    }
}

/// The client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// Reads it from a request.
    pub fn of(request: &HttpRequest) -> Self {
        let peer = request
            .peer_addr()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let Some(trusted) = request.app_data::<web::Data<TrustedProxies>>() else {
            return Self(peer);
        };
        let headers = request.headers().get_all("x-forwarded-for");
        let forwarded: Vec<_> = headers.filter_map(|value| value.to_str().ok()).collect();
        Self(trusted.client(peer, &forwarded))
    }
}

impl FromRequest for ClientAddress {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of(request)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_hops_are_believed() {
        let trusted = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap()]);
        let client =
            |peer: &str, forwarded: &[&str]| trusted.client(peer.parse().unwrap(), forwarded).to_string();

        assert_eq!(
            client("203.0.113.9", &["1.2.3.4"]),
            "203.0.113.9",
            "a stranger forges in vain"
        );
        assert_eq!(
            client("10.0.0.1", &["1.2.3.4, 198.51.100.7"]),
            "198.51.100.7",
            "the nearest untrusted hop"
        );
        assert_eq!(
            client("10.0.0.1", &["198.51.100.7", "10.0.0.2"]),
            "198.51.100.7",
            "two headers are one list"
        );
        assert_eq!(client("10.0.0.1", &["rubbish"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }
}
