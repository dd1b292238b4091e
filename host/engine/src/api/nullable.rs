//! Engines write `null` for an empty list or map. Here it is the same as an empty one.

use serde::{Deserialize, Deserializer};

/// The value, or its default for `null`.
pub(crate) fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}
