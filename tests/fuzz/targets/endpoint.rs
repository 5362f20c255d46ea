//! What sockeye-endpoint parses: what is taken prints and parses back as the same, what is refused says where.

use std::fmt;
use std::str::FromStr;

use sockeye_endpoint::{
    Address, AddressRange, Endpoint, Host, HostName, NetSet, Network, PortSet, ServiceName, Target,
    Transport, UnixName, Zone, ZoneName,
};

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    same_again::<Endpoint>(text);
    same_again::<Target>(text);
    same_again::<Host>(text);
    same_again::<HostName>(text);
    same_again::<Address>(text);
    same_again::<Address<Target>>(text);
    same_again::<Network>(text);
    same_again::<AddressRange>(text);
    same_again::<PortSet>(text);
    same_again::<NetSet>(text);
    same_again::<ServiceName>(text);
    same_again::<Transport>(text);
    same_again::<UnixName>(text);
    same_again::<Zone>(text);
    same_again::<ZoneName>(text);
}

fn same_again<T>(text: &str)
where
    T: FromStr + fmt::Display + fmt::Debug + PartialEq,
    T::Err: fmt::Display,
{
    match text.parse::<T>() {
        Ok(parsed) => {
            let printed = parsed.to_string();
            match printed.parse::<T>() {
                Ok(again) => assert_eq!(again, parsed, "{text:?} was printed as {printed:?}"),
                Err(error) => panic!("{text:?} was printed as {printed:?}: {error}"),
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
