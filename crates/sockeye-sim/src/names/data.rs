//! The data of a record from the words of a zone file.

use std::net::{Ipv4Addr, Ipv6Addr};

use sockeye_resolver::dns::{Binding, Message, Name, RecordData, RecordType, Soa};

use super::text::{Word, ZoneFault, duration, name};

/// Reads the data of a type.
pub(super) fn read(record_type: RecordType, words: &[Word], origin: &Name) -> Result<RecordData, ZoneFault> {
    if let [mark, rest @ ..] = words
        && !mark.quoted
        && mark.text == "\\#"
    {
        return generic(record_type, rest).ok_or(ZoneFault::Data(record_type));
    }
    let mut fields = Fields {
        record_type,
        words: words.iter(),
        origin,
    };
    let data = match record_type {
        RecordType::A => RecordData::A(fields.parsed()?),
        RecordType::AAAA => RecordData::Aaaa(fields.parsed()?),
        RecordType::CNAME => RecordData::Cname(fields.name()?),
        RecordType::PTR => RecordData::Ptr(fields.name()?),
        RecordType::NS => RecordData::Ns(fields.name()?),
        RecordType::DNAME => RecordData::Dname(fields.name()?),
        RecordType::MX => RecordData::Mx {
            preference: fields.parsed()?,
            exchange: fields.name()?,
        },
        RecordType::TXT => RecordData::Txt(fields.texts()?),
        RecordType::SRV => RecordData::Srv {
            priority: fields.parsed()?,
            weight: fields.parsed()?,
            port: fields.parsed()?,
            target: fields.name()?,
        },
        RecordType::SOA => RecordData::Soa(Box::new(Soa {
            primary: fields.name()?,
            mailbox: fields.name()?,
            serial: fields.parsed()?,
            refresh: fields.seconds()?,
            retry: fields.seconds()?,
            expire: fields.seconds()?,
            minimum: fields.seconds()?,
        })),
        RecordType::SVCB => RecordData::Svcb(Box::new(fields.binding()?)),
        RecordType::HTTPS => RecordData::Https(Box::new(fields.binding()?)),
        RecordType::CAA => RecordData::Caa {
            flags: fields.parsed()?,
            tag: fields.text()?,
            value: fields.text()?,
        },
        _ => return Err(ZoneFault::Data(record_type)),
    };
    if fields.words.next().is_some() {
        return Err(ZoneFault::Data(record_type));
    }
    Ok(data)
}

/// `LENGTH HEX...`: the bytes as they stand in a message (RFC 3597 section 5). The message reader says what they mean.
fn generic(record_type: RecordType, words: &[Word]) -> Option<RecordData> {
    let (len, digits) = words.split_first()?;
    let len: u16 = len.text.parse().ok()?;
    let digits: String = digits.iter().map(|word| word.text.as_str()).collect();
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != usize::from(len) {
        return None;
    }
    // A header that counts one answer, and the root as its owner.
    let mut message = vec![0, 0, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    message.extend_from_slice(&record_type.0.to_be_bytes());
    message.extend_from_slice(&[0, 1, 0, 0, 0, 0]);
    message.extend_from_slice(&len.to_be_bytes());
    for pair in pairs {
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let [high, low] = *pair;
        message.push(digit(high)? << 4 | digit(low)?);
    }
    let record = Message::parse(&message).ok()?.answers.pop()?;
    Some(record.data)
}

struct Fields<'a> {
    record_type: RecordType,
    words: std::slice::Iter<'a, Word>,
    origin: &'a Name,
}

impl<'a> Fields<'a> {
    fn fault(&self) -> ZoneFault {
        ZoneFault::Data(self.record_type)
    }

    fn word(&mut self) -> Result<&'a Word, ZoneFault> {
        self.words.next().ok_or(ZoneFault::Data(self.record_type))
    }

    fn parsed<T: std::str::FromStr>(&mut self) -> Result<T, ZoneFault> {
        self.word()?.text.parse().map_err(|_| self.fault())
    }

    fn seconds(&mut self) -> Result<u32, ZoneFault> {
        duration(&self.word()?.text).ok_or(self.fault())
    }

    fn name(&mut self) -> Result<Name, ZoneFault> {
        name(&self.word()?.text, self.origin)
    }

    fn text(&mut self) -> Result<Box<[u8]>, ZoneFault> {
        let bytes = unescaped(&self.word()?.text).ok_or(self.fault())?;
        if bytes.len() > 255 && self.record_type == RecordType::TXT {
            return Err(self.fault());
        }
        Ok(bytes.into())
    }

    fn texts(&mut self) -> Result<Vec<Box<[u8]>>, ZoneFault> {
        let mut texts = vec![self.text()?];
        while self.words.len() > 0 {
            texts.push(self.text()?);
        }
        Ok(texts)
    }

    fn binding(&mut self) -> Result<Binding, ZoneFault> {
        let (priority, target) = (self.parsed()?, self.name()?);
        let mut parameters = Vec::new();
        while self.words.len() > 0 {
            let word = self.word()?;
            parameters.push(parameter(&word.text).ok_or(self.fault())?);
        }
        parameters.sort_by_key(|(key, _)| *key);
        if parameters.is_sorted_by(|(a, _), (b, _)| a < b) {
            Ok(Binding {
                priority,
                target,
                parameters,
            })
        } else {
            Err(self.fault())
        }
    }
}

/// A parameter of a binding (RFC 9460 section 2.1 and 7), its key and its value in the wire format.
fn parameter(text: &str) -> Option<(u16, Box<[u8]>)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let mut bytes = Vec::new();
    let number = match key {
        "mandatory" => {
            for name in value.split(',') {
                bytes.extend_from_slice(&key_number(name)?.to_be_bytes());
            }
            0
        }
        "alpn" => {
            for protocol in value.split(',') {
                let protocol = unescaped(protocol)?;
                bytes.push(u8::try_from(protocol.len()).ok().filter(|len| *len > 0)?);
                bytes.extend(protocol);
            }
            1
        }
        "port" => {
            bytes.extend_from_slice(&value.parse::<u16>().ok()?.to_be_bytes());
            3
        }
        "ipv4hint" => {
            for ip in value.split(',') {
                bytes.extend_from_slice(&ip.parse::<Ipv4Addr>().ok()?.octets());
            }
            4
        }
        "ipv6hint" => {
            for ip in value.split(',') {
                bytes.extend_from_slice(&ip.parse::<Ipv6Addr>().ok()?.octets());
            }
            6
        }
        other => {
            bytes = unescaped(value)?;
            key_number(other)?
        }
    };
    Some((number, bytes.into()))
}

/// The number of a parameter's key. `ech` is not among them: write `key5="..."` with the bytes of its value.
fn key_number(key: &str) -> Option<u16> {
    Some(match key {
        "mandatory" => 0,
        "alpn" => 1,
        "no-default-alpn" => 2,
        "port" => 3,
        "ipv4hint" => 4,
        "ipv6hint" => 6,
        "dohpath" => 7,
        _ => key.strip_prefix("key")?.parse().ok()?,
    })
}

/// The bytes of a text: `\DDD` is a byte, and a backslash before anything else stands for that.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let first = rest.next()?;
        if !first.is_ascii_digit() {
            bytes.push(first);
            continue;
        }
        let mut number = u32::from(first - b'0');
        for _ in 0..2 {
            let digit = rest.next().filter(u8::is_ascii_digit)?;
            number = number * 10 + u32::from(digit - b'0');
        }
        bytes.push(u8::try_from(number).ok()?);
    }
    Some(bytes)
}
