//! How the parser's events become a [`Document`]: types and keys are checked here, so that every error has
//! the line of what is wrong.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

use crate::name::quote;

/// What a configuration file says, its types checked and no more.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) prefix: Option<String>,
    pub(crate) volumes: Option<Vec<String>>,
    pub(crate) exclude: Option<Vec<String>>,
    pub(crate) incremental: Option<bool>,
    pub(crate) full_every: Option<u64>,
}

/// What can be wrong in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DocumentPart {
    Document,
    Prefix,
    Volumes,
    Volume(usize),
    Exclude,
    Pattern(usize),
    Incremental,
    FullEvery,
}

/// Reads the document; fails on purpose at `stop`.
pub(super) struct DocumentRoot {
    pub(super) stop: Option<DocumentPart>,
}

impl<'de> DeserializeSeed<'de> for DocumentRoot {
    type Value = Document;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DocumentRoot {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`prefix: …` and `volumes: […]`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let DocumentRoot { stop } = self;
        stop_at(stop, DocumentPart::Document)?;
        let mut document = Document::default();
        while let Some(key) = map.next_key_seed(Key(&document))? {
            let list = |item| Items { part: key, item, stop };
            match key {
                DocumentPart::Prefix => {
                    document.prefix = Some(map.next_value_seed(ItemText { part: key, stop })?);
                }
                DocumentPart::Volumes => {
                    document.volumes = Some(map.next_value_seed(list(DocumentPart::Volume))?);
                }
                DocumentPart::Incremental => document.incremental = Some(map.next_value_seed(Switch)?),
                DocumentPart::FullEvery => document.full_every = Some(map.next_value_seed(Count)?),
                _ => document.exclude = Some(map.next_value_seed(list(DocumentPart::Pattern))?),
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
    type Value = DocumentPart;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<DocumentPart, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = DocumentPart;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key, such as `prefix`")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<DocumentPart, E> {
        let (part, known) = match key {
            "prefix" => (DocumentPart::Prefix, self.0.prefix.is_some()),
            "volumes" => (DocumentPart::Volumes, self.0.volumes.is_some()),
            "exclude" => (DocumentPart::Exclude, self.0.exclude.is_some()),
            "incremental" => (DocumentPart::Incremental, self.0.incremental.is_some()),
            "full_every" => (DocumentPart::FullEvery, self.0.full_every.is_some()),
            _ => {
                let key = quote(key);
                return Err(E::custom(format!(
                    "unknown key {key}: there are `prefix`, `volumes`, `exclude`, `incremental` and `full_every`"
                )));
            }
        };
        if known { Err(E::custom(format!("`{key}` is there twice: keep one"))) } else { Ok(part) }
    }
}

/// `true` or `false`.
struct Switch;

impl<'de> DeserializeSeed<'de> for Switch {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Switch {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`true` or `false`")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }
}

/// A number of at least 1.
struct Count;

impl<'de> DeserializeSeed<'de> for Count {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Count {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of at least 1, such as 30")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        if value == 0 {
            Err(E::custom("0 is not a number of at least 1: write 1 to store all each time"))
        } else {
            Ok(value)
        }
    }
}

struct ItemText {
    part: DocumentPart,
    stop: Option<DocumentPart>,
}

impl<'de> DeserializeSeed<'de> for ItemText {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ItemText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string: quote it, as in \"123\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        stop_at(self.stop, self.part)?;
        Ok(text.to_owned())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(A::Error::custom("YAML takes what begins with `!` for a tag: quote it, as in \"!a\""))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let key = map.next_key::<String>().unwrap_or_default();
        Err(A::Error::custom(match (self.part, key) {
            (DocumentPart::Volume(_), Some(key)) => format!(
                "an item of `volumes` is a path alone, and this one has the key {}: write `- /data`",
                quote(&key)
            ),
            (DocumentPart::Pattern(_), Some(key)) => format!(
                "a pattern is a string, and this is a key, {}, with a value: quote it as a whole",
                quote(&key)
            ),
            _ => "it is a map of keys and values, expected a string".to_owned(),
        }))
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Err(E::custom(match self.part {
            DocumentPart::Prefix => "it has no value: to have none, write `prefix: \"\"`",
            _ => "it has no value: write a string, or remove the item",
        }))
    }
}

struct Items {
    part: DocumentPart,
    item: fn(usize) -> DocumentPart,
    stop: Option<DocumentPart>,
}

impl<'de> DeserializeSeed<'de> for Items {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list: write an item a line, each behind `- `")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        stop_at(self.stop, self.part)?;
        let mut items = Vec::new();
        while let Some(item) =
            list.next_element_seed(ItemText { part: (self.item)(items.len()), stop: self.stop })?
        {
            items.push(item);
        }
        Ok(items)
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<String>, E> {
        Err(E::custom("it has no value: write a list, such as [\"a\"], or remove the key"))
    }
}

fn stop_at<E: Error>(stop: Option<DocumentPart>, part: DocumentPart) -> Result<(), E> {
    if stop == Some(part) { Err(E::custom("")) } else { Ok(()) }
}
