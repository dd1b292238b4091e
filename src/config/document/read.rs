//! How the parser's events become a [`Document`]: types and keys are checked, so that every error has the line of
//! what is wrong.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

use super::{Document, Place};
use crate::config::origin::quote;

/// Reads the document; fails on purpose at `stop`.
pub(super) struct Root {
    pub(super) stop: Option<Place>,
}

impl<'de> DeserializeSeed<'de> for Root {
    type Value = Document;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Root {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`prefix: …` and `volumes: […]`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let Root { stop } = self;
        stop_at(stop, Place::Document)?;
        let mut document = Document::default();
        while let Some(key) = map.next_key_seed(Key(&document))? {
            let list = |item| List { place: key, item, stop };
            match key {
                Place::Prefix => document.prefix = Some(map.next_value_seed(Text { place: key, stop })?),
                Place::Volumes => document.volumes = Some(map.next_value_seed(list(Place::Volume))?),
                _ => document.exclude = Some(map.next_value_seed(list(Place::Pattern))?),
            }
        }
        Ok(document)
    }

    fn visit_none<E: Error>(self) -> Result<Document, E> {
        self.visit_unit()
    }

    fn visit_unit<E: Error>(self) -> Result<Document, E> {
        Err(E::custom("it is empty: write at least `{prefix: web, volumes: [/data]}`"))
    }
}

/// One of the keys, and none that the document has already.
struct Key<'a>(&'a Document);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Place;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Place, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Place;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key: `prefix`, `volumes` or `exclude`")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Place, E> {
        let (place, known) = match key {
            "prefix" => (Place::Prefix, self.0.prefix.is_some()),
            "volumes" => (Place::Volumes, self.0.volumes.is_some()),
            "exclude" => (Place::Exclude, self.0.exclude.is_some()),
            _ => {
                let key = quote(key);
                return Err(E::custom(format!(
                    "unknown key {key}: there are `prefix`, `volumes` and `exclude`"
                )));
            }
        };
        if known { Err(E::custom(format!("`{key}` is there twice: keep one"))) } else { Ok(place) }
    }
}

struct Text {
    place: Place,
    stop: Option<Place>,
}

impl<'de> DeserializeSeed<'de> for Text {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string: quote it, as in \"123\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        stop_at(self.stop, self.place)?;
        Ok(text.to_owned())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(A::Error::custom("YAML takes what begins with `!` for a tag: quote it, as in \"!a\""))
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Err(E::custom(match self.place {
            Place::Prefix => "it has no value: to have none, write `prefix: \"\"`",
            _ => "it has no value: write a string, or remove the item",
        }))
    }
}

struct List {
    place: Place,
    item: fn(usize) -> Place,
    stop: Option<Place>,
}

impl<'de> DeserializeSeed<'de> for List {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list: write an item a line, each behind `- `")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        stop_at(self.stop, self.place)?;
        let mut items = Vec::new();
        while let Some(item) =
            list.next_element_seed(Text { place: (self.item)(items.len()), stop: self.stop })?
        {
            items.push(item);
        }
        Ok(items)
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<String>, E> {
        Err(E::custom("it has no value: write a list, such as [\"a\"], or remove the key"))
    }
}

fn stop_at<E: Error>(stop: Option<Place>, place: Place) -> Result<(), E> {
    if stop == Some(place) { Err(E::custom("")) } else { Ok(()) }
}
