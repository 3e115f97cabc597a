//! Names: what a human calls an agent (a DNS label), and what an agent calls a service.

use std::str::FromStr;

use crate::limits::{NAME_BYTES_MAX, SERVICE_BYTES_MAX};

/// What every newtype around a checked text has beside its own [`FromStr`]: the text itself, and that text in CBOR and
/// JSON, read back only through the check.
macro_rules! text_form {
    ($name:ident) => {
        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                d.str()?.parse().map_err(minicbor::decode::Error::message)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(d)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use text_form;

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl FromStr for $name {
            type Err = LabelError;
            fn from_str(text: &str) -> Result<Self, LabelError> {
                check_label($what, text, $max)?;
                Ok(Self(text.to_owned()))
            }
        }

        text_form!($name);
    };
}

label!(
    /// 1–63 characters, a lowercase DNS label (RFC 1035 §2.3.1, RFC 1123 §2.1): letters, digits and
    /// inner hyphens. Claimed by signed record, never proof of identity.
    Name,
    "name",
    NAME_BYTES_MAX
);
label!(
    /// A named service of an agent, or a port written as a decimal number: `mcp`, `ssh`, `8080`.
    Service,
    "service",
    SERVICE_BYTES_MAX
);

impl Service {
    /// The built-in service that serves an agent's card to trusted peers, whatever they are trusted for.
    pub const CARD: &str = "card";

    /// The built-in service from which a peer fetches the files that were sent to it. Whoever is trusted
    /// reaches it; it has nothing for those to whom nothing was sent.
    pub const FILES: &str = "files";
    /// The built-in service that serves content by CID to peers that are trusted for it.
    pub const CONTENT: &str = "content";
    /// Not a stream: the right to send messages to an agent.
    pub const MESSAGE: &str = "message";
    /// Not a stream: the right to have pings answered.
    pub const PING: &str = "ping";
    /// Not a stream: the right to subscribe to an agent's topics.
    pub const TOPIC: &str = "topic";

    /// Not for programs: the right to send packets to an agent's network interface.
    pub const TUN: &str = "tun";

    /// Whether every trusted peer may use it, whatever it is trusted for.
    #[must_use]
    pub fn is_for_all_trusted(&self) -> bool {
        [Self::CARD, Self::FILES].contains(&self.as_str())
    }

    /// Whether it names a right or a built-in service: nothing of the user's is exposed under it, or the
    /// right to send mail would open it.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.is_for_all_trusted()
            || [Self::CONTENT, Self::MESSAGE, Self::TOPIC, Self::TUN].contains(&self.as_str())
    }
}

/// Why a text is no label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Nothing there.
    #[error("a {what} is not empty")]
    Empty {
        /// `name` or `service`.
        what: &'static str,
    },
    /// Too long.
    #[error("a {what} has at most {max} characters, this has {len}")]
    Long {
        /// `name` or `service`.
        what: &'static str,
        /// Characters found.
        len: usize,
        /// Characters allowed.
        max: usize,
    },
    /// A character that no label has.
    #[error("a {what} has only a-z, 0-9 and inner hyphens, this has {found:?}")]
    Character {
        /// `name` or `service`.
        what: &'static str,
        /// The first offender.
        found: char,
    },
    /// A hyphen first or last.
    #[error("a {what} neither begins nor ends with a hyphen")]
    Hyphen {
        /// `name` or `service`.
        what: &'static str,
    },
}

fn check_label(what: &'static str, text: &str, max: usize) -> Result<(), LabelError> {
    if text.is_empty() {
        return Err(LabelError::Empty { what });
    }
    if text.len() > max {
        return Err(LabelError::Long { what, len: text.chars().count(), max });
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(found) = text.chars().find(|c| !allowed(*c)) {
        return Err(LabelError::Character { what, found });
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(LabelError::Hyphen { what });
    }
    Ok(())
}
