//! Every type that has a text is that text in serde, read by the strict parser.

use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::{
    Address, AddressRange, Endpoint, Host, HostName, NetSet, Network, ParseError, PortSet, ServiceName,
    Target, Transport, UnixName, Zone,
};

struct TextVisitor<T> {
    expected: &'static str,
    parsed: PhantomData<T>,
}

impl<T: FromStr<Err = ParseError>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! as_text {
    ($($type:ty: $expected:literal,)+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor { expected: $expected, parsed: PhantomData })
            }
        }
    )+};
}

as_text! {
    Address: "an address such as tcp://127.0.0.1:80 or unix:/run/app.sock",
    Address<Target>: "an address such as localhost:http or unix:/run/app.sock",
    AddressRange: "a first and a last address such as 192.0.2.1-192.0.2.9",
    Endpoint: "an endpoint such as tcp://127.0.0.1:80",
    Host: "an address or a host name",
    HostName: "a host name",
    NetSet: "networks with commas between them",
    Network: "a network such as 10.0.0.0/8",
    PortSet: "ports such as 22,8000-8099",
    ServiceName: "a service name",
    Target: "a target such as localhost:http",
    UnixName: "a path, or @ and an abstract name",
    Transport: "tcp, udp, udplite, icmp, icmpv6 or ip+N",
    Zone: "the name or the index of an interface",
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use serde::de::DeserializeOwned;

    use super::*;

    #[track_caller]
    fn round_trip<T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(json: &str) {
        let value: T = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), json);
    }

    #[test]
    fn texts_come_back() {
        round_trip::<AddressRange>(r#""192.0.2.1-192.0.2.9""#);
        round_trip::<Endpoint>(r#""udp://[fe80::1%eth0]:53""#);
        round_trip::<Target>(r#""tcp://localhost:80""#);
        round_trip::<Host>(r#""[::1%2]""#);
        round_trip::<HostName>(r#""example.com""#);
        round_trip::<NetSet>(r#""10.0.0.0/8,fc00::/7""#);
        round_trip::<Network>(r#""10.0.0.0/8""#);
        round_trip::<PortSet>(r#""22,8000-8099""#);
        round_trip::<ServiceName>(r#""domain""#);
        round_trip::<Transport>(r#""ip+89""#);
        round_trip::<Zone>(r#""eth0""#);
        round_trip::<Address>(r#""tls://127.0.0.1:443""#);
        round_trip::<Address<Target>>(r#""tls://localhost:443""#);
        round_trip::<UnixName>(r#""@app""#);
        round_trip::<UnixName>(r#""(unnamed)""#);
    }

    #[test]
    fn the_strict_parser_reads_them() {
        let error = serde_json::from_str::<Network>(r#""010.0.0.0/8""#).unwrap_err();
        assert!(error.to_string().starts_with("leading zero"), "{error}");
    }
}
