//! Values that are more than text or a number.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A stretch of time, written `250ms`, `30s`, `1h30m`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The stretch of this text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut whole = Duration::ZERO;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
            let (number, behind) = rest.split_at(digits);
            let unit_end = behind.find(|letter: char| letter.is_ascii_digit()).unwrap_or(behind.len());
            let (unit, behind) = behind.split_at(unit_end);
            let number: u64 = number.parse().ok()?;
            let part = match unit.trim() {
                "ms" => Duration::from_millis(number),
                "s" => Duration::from_secs(number),
                "m" => Duration::from_secs(number.checked_mul(60)?),
                "h" => Duration::from_secs(number.checked_mul(3_600)?),
                "d" => Duration::from_secs(number.checked_mul(86_400)?),
                _ => return None,
            };
            whole = whole.checked_add(part)?;
            rest = behind;
        }
        Some(Self(whole))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
        let unit =
            units.into_iter().find(|(_, size)| milliseconds != 0 && milliseconds.is_multiple_of(*size));
        match unit {
            Some((name, size)) => write!(f, "{}{name}", milliseconds / size),
            None => f.write_str("0s"),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Words {
            expected: "a length of time such as 250ms, 30s, 1h30m or 7d",
            read: Span::parse,
        })
    }
}

/// An address to listen on, written `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` or `8080`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl Listen {
    /// 127.0.0.1 with this port.
    pub const fn loopback(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    /// The address of this text.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
        if let Ok(port) = port.parse() {
            return Some(Self::loopback(port));
        }
        text.parse().ok().map(Self)
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Words {
            expected: "an IP address with a port such as 127.0.0.1:8080, or a port",
            read: Listen::parse,
        })
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Reads a word or a bare number by a function.
struct Words<T> {
    expected: &'static str,
    read: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Words<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.read)(&number.to_string())
            .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_written() {
        for (text, milliseconds, shown) in [
            ("250ms", 250, "250ms"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "90s"),
            ("1h30m", 5_400_000, "90m"),
            ("1h 30m", 5_400_000, "90m"),
            ("7d", 604_800_000, "7d"),
            ("0s", 0, "0s"),
        ] {
            let span = Span::parse(text).unwrap();
            assert_eq!(span.0, Duration::from_millis(milliseconds), "{text}");
            assert_eq!(span.to_string(), shown);
        }
        for bad in ["", "s", "30", "-3s", "1.5h", "3 weeks", "99999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!(Span::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_address_may_be_a_port_alone() {
        for (text, address) in [
            ("8080", "127.0.0.1:8080"),
            (":8080", "127.0.0.1:8080"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::1]:8080", "[::1]:8080"),
            ("0.0.0.0:80", "0.0.0.0:80"),
        ] {
            assert_eq!(Listen::parse(text), Some(Listen(address.parse().unwrap())), "{text}");
        }
        for bad in ["", "example.com:80", "127.0.0.1", "70000", "localhost", "localhost:x"] {
            assert_eq!(Listen::parse(bad), None, "{bad}");
        }
    }
}
