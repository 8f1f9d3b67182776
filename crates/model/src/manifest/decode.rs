//! Decodes nodes into the resource types, collecting every fault and every unknown field with its place.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::MAX_PROBLEMS;
use super::blank::{Blank, Blanks, Spot};
use super::node::{Entry, Node, Value};
use crate::path::Path;
use crate::suggest::hint;
use crate::text::quote;

/// Something that is wrong, and where.
pub(super) struct Found {
    pub(super) field: String,
    /// Line in the document, counted from 1; 0 when unknown.
    pub(super) line: u64,
    pub(super) message: String,
}

/// Reads `node`, which stands at `path`, as a `T`, and finds all that is wrong with it, in the order of the text. Fields that `T`'s structs
/// don't have are wrong too when `strict`, and passed over otherwise. With something wrong, the value has blanks, or there is none.
pub(super) fn decode<'de, T: de::Deserialize<'de>>(node: &'de Node, path: &Path<'_>, strict: bool) -> (Option<T>, Vec<Found>) {
    let mut blanks = Blanks::default();
    let mut faults = Vec::new();
    loop {
        let unknown = RefCell::new(Vec::new());
        let scope = Scope { unknown: strict.then_some(&unknown), blanks: &blanks };
        let decoded = T::deserialize(Decoder { node, path, scope }).map_err(|fault| fault.at(path, node, node.line));
        let value = match decoded {
            Ok(value) => Some(value),
            Err(Fault { message, place, .. }) => {
                let (field, line, spot) = place.unwrap_or_else(|| (path.to_string(), node.line, Spot::of(node)));
                faults.push(Found { field, line, message });
                if faults.len() <= MAX_PROBLEMS && spot != Spot::of(node) && blanks.note(spot) {
                    continue;
                }
                None
            }
        };
        faults.append(&mut unknown.into_inner());
        faults.sort_by_key(|found| found.line);
        return (value, faults);
    }
}

/// What to say about a field named `key` where only `known` ones exist.
pub(super) fn unknown_field<'a>(key: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let hint = hint(key, known.clone());
    let list = if hint.is_empty() {
        let known: Vec<String> = known.into_iter().map(|k| format!("`{k}`")).collect();
        if known.is_empty() { "; no field is known here".to_owned() } else { format!("; known here: {}", known.join(", ")) }
    } else {
        hint
    };
    format!("unknown field{list}")
}

/// Why a node isn't a `T`.
#[derive(Debug)]
pub(super) struct Fault {
    message: String,
    /// The field, its line and its spot; set where the fault is found.
    place: Option<(String, u64, Spot)>,
    /// A field of the place that is missing.
    missing: Option<&'static str>,
}

impl Fault {
    fn new(message: String) -> Fault {
        Fault { message, place: None, missing: None }
    }

    /// Gives the fault its place, unless one further in did.
    fn at(mut self, path: &Path<'_>, node: &Node, line: u64) -> Fault {
        if self.place.is_none() {
            self.place = Some(match self.missing {
                Some(name) => (path.field(name).to_string(), line, Spot::missing(node, name)),
                None => (path.to_string(), line, Spot::of(node)),
            });
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        Fault::new(message.to_string())
    }

    fn invalid_value(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Fault {
        let rule = match expected.to_string().as_str() {
            "u32" => format!("a whole number from 0 to {}", u32::MAX),
            // No field of a manifest may be negative.
            "i32" => format!("a whole number from 0 to {}", i32::MAX),
            "i64" => format!("a whole number from {} to {}", i64::MIN, i64::MAX),
            other => other.to_owned(),
        };
        Fault::new(format!("must be {rule}, but is {unexpected}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Fault {
        let words: Vec<String> = expected.iter().map(|word| format!("`{word}`")).collect();
        let hint = hint(variant, expected.iter().copied());
        Fault::new(format!("`{}` is not one of {}{hint}", quote(variant), words.join(", ")))
    }

    fn missing_field(field: &'static str) -> Fault {
        Fault { message: "is missing".to_owned(), place: None, missing: Some(field) }
    }
}

/// What all of one reading shares.
#[derive(Clone, Copy)]
struct Scope<'p> {
    /// Where unknown fields are noted; `None`: nowhere.
    unknown: Option<&'p RefCell<Vec<Found>>>,
    blanks: &'p Blanks,
}

struct Decoder<'de, 'p> {
    node: &'de Node,
    path: &'p Path<'p>,
    scope: Scope<'p>,
}

impl<'de> Decoder<'de, '_> {
    fn must_be(&self, what: &str) -> Fault {
        Fault::new(format!("must be {what}, but is {}", self.node.describe()))
    }

    fn map(&self) -> Result<&'de [Entry], Fault> {
        match &self.node.value {
            Value::Map(entries) => Ok(entries),
            _ => Err(self.must_be("a map")),
        }
    }

    fn whole_number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Signed(value) => visitor.visit_i64(value),
            Value::Unsigned(value) => visitor.visit_u64(value),
            _ => Err(self.must_be("a whole number")),
        }
    }

    fn text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Null => Err(Fault::new("must be text, but is empty; write `\"\"` for an empty one".to_owned())),
            Value::List(_) | Value::Map(_) => Err(self.must_be("text")),
            _ => Err(Fault::new(format!("must be text, but is {}; put it in quotes", self.node.describe()))),
        }
    }
}

impl<'de> Deserializer<'de> for Decoder<'de, '_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Signed(_) | Value::Unsigned(_) => self.whole_number(visitor),
            Value::Text(_) => self.text(visitor),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Bool(value) => visitor.visit_bool(value),
            _ => Err(self.must_be("`true` or `false`")),
        }
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.whole_number(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.whole_number(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.whole_number(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.whole_number(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::List(nodes) => visitor.visit_seq(Elements { nodes, next: 0, path: self.path, scope: self.scope }),
            _ => Err(self.must_be("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let entries = self.map()?;
        visitor.visit_map(Fields { entries, known: None, missing: Vec::new(), value: None, path: self.path, scope: self.scope })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let entries = self.map()?;
        if let Some(unknown) = self.scope.unknown {
            let strange = entries.iter().filter(|entry| !fields.contains(&entry.key.as_str()));
            unknown.borrow_mut().extend(strange.map(|entry| Found {
                field: self.path.field(&entry.key).to_string(),
                line: entry.line,
                message: unknown_field(&entry.key, fields.iter().copied()),
            }));
        }
        let missing = self.scope.blanks.missing(self.node, fields);
        visitor.visit_map(Fields { entries, known: Some(fields), missing, value: None, path: self.path, scope: self.scope })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Text(text) => {
                let variant: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
                visitor.visit_enum(variant)
            }
            _ => Err(self.must_be(&format!("one of `{}`", variants.join("`, `")))),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

struct Elements<'de, 'p> {
    nodes: &'de [Node],
    next: usize,
    path: &'p Path<'p>,
    scope: Scope<'p>,
}

impl<'de> SeqAccess<'de> for Elements<'de, '_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.nodes.get(self.next) else { return Ok(None) };
        let path = self.path.index(self.next);
        self.next += 1;
        if self.scope.blanks.is_blank(node) {
            return seed.deserialize(Blank).map(Some);
        }
        seed.deserialize(Decoder { node, path: &path, scope: self.scope }).map(Some).map_err(|fault| fault.at(&path, node, node.line))
    }
}

struct Fields<'de, 'p> {
    entries: &'de [Entry],
    /// A struct's fields: others are passed over, and so is null, which Kubernetes takes for absent. `None` for a map.
    known: Option<&'static [&'static str]>,
    /// Fields that aren't there and are read as blanks.
    missing: Vec<&'static str>,
    /// The entry whose key was read last; `None`: a blank.
    value: Option<&'de Entry>,
    path: &'p Path<'p>,
    scope: Scope<'p>,
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        while let Some((entry, rest)) = self.entries.split_first() {
            self.entries = rest;
            if self.known.is_some_and(|known| entry.value.is_null() || !known.contains(&entry.key.as_str())) {
                continue;
            }
            self.value = Some(entry);
            let key: StrDeserializer<'_, Fault> = entry.key.as_str().into_deserializer();
            return seed.deserialize(key).map(Some);
        }
        let Some(name) = self.missing.pop() else { return Ok(None) };
        self.value = None;
        let key: StrDeserializer<'_, Fault> = name.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(entry) = self.value.take().filter(|entry| !self.scope.blanks.is_blank(&entry.value)) else {
            return seed.deserialize(Blank);
        };
        let path = self.path.field(&entry.key);
        let decoder = Decoder { node: &entry.value, path: &path, scope: self.scope };
        seed.deserialize(decoder).map_err(|fault| fault.at(&path, &entry.value, entry.line))
    }
}
