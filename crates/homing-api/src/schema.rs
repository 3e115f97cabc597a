//! The first key of every JSON object: `"schema":"homing.status/v1"`.
//!
//! [`Schema<T>`] is a field without content: it writes the name of `T` and refuses to read another.

use std::fmt;
use std::marker::PhantomData;

/// A JSON object with a versioned name.
pub trait Described {
    /// For example `homing.status/v1`.
    const SCHEMA: &'static str;
}

/// The `schema` field of `T`.
pub struct Schema<T>(PhantomData<fn() -> T>);

impl<T> Schema<T> {
    /// The field.
    #[must_use]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Schema<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Schema<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Schema<T> {}

impl<T> PartialEq for Schema<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Schema<T> {}

impl<T: Described> fmt::Debug for Schema<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::SCHEMA)
    }
}

impl<T: Described> serde::Serialize for Schema<T> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(T::SCHEMA)
    }
}

impl<'de, T: Described> serde::Deserialize<'de> for Schema<T> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let name = String::deserialize(d)?;
        if name == T::SCHEMA {
            return Ok(Self::new());
        }
        Err(serde::de::Error::custom(format!("schema {name:?}, expected {:?}", T::SCHEMA)))
    }
}

/// Names the schema of a type.
macro_rules! described {
    ($($name:ty => $schema:literal),+ $(,)?) => {
        $(impl crate::Described for $name { const SCHEMA: &'static str = $schema; })+
    };
}
pub(crate) use described;
