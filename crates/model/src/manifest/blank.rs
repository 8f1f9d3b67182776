//! Blanks: what is read in the place of what can't be, so that reading goes on and finds the other faults too.
//!
//! serde ends at the first fault. So the node at fault is noted, the whole is read again with a blank in its place, and so on. What was read
//! with a blank in it is thrown away; only its faults count.

use std::collections::HashSet;

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::decode::Fault;
use super::node::Node;

/// Where a fault is, so that it can be passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Spot {
    /// The node itself.
    Node(usize),
    /// A field that the node lacks.
    Missing(usize, &'static str),
}

impl Spot {
    /// A node, known by its address: nodes neither move nor go while they are decoded.
    pub(super) fn of(node: &Node) -> Spot {
        Spot::Node(address(node))
    }

    /// The field `name` that `node` lacks.
    pub(super) fn missing(node: &Node, name: &'static str) -> Spot {
        Spot::Missing(address(node), name)
    }
}

fn address(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

/// The faults to pass over.
#[derive(Debug, Default)]
pub(super) struct Blanks(HashSet<Spot>);

impl Blanks {
    /// Notes a fault; `false` when it was noted before, so that a blank didn't help.
    pub(super) fn note(&mut self, spot: Spot) -> bool {
        self.0.insert(spot)
    }

    /// Whether there is a fault at `node` to pass over.
    pub(super) fn is_blank(&self, node: &Node) -> bool {
        self.0.contains(&Spot::of(node))
    }

    /// Of a struct's fields those that `node` lacks and that are to be passed over.
    pub(super) fn missing(&self, node: &Node, fields: &'static [&'static str]) -> Vec<&'static str> {
        let is_noted = |name: &&&'static str| self.0.contains(&Spot::missing(node, name));
        // Most nodes lack nothing.
        if self.0.is_empty() { Vec::new() } else { fields.iter().filter(is_noted).copied().collect() }
    }
}

/// Whatever a type wants, as empty as it can be.
#[derive(Clone, Copy)]
pub(super) struct Blank;

impl<'de> IntoDeserializer<'de, Fault> for Blank {
    type Deserializer = Blank;

    fn into_deserializer(self) -> Blank {
        self
    }
}

macro_rules! blank {
    ($($method:ident => $visit:ident($value:expr)),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Blank {
    type Error = Fault;

    blank! {
        deserialize_bool => visit_bool(false),
        deserialize_i32 => visit_i64(0),
        deserialize_i64 => visit_i64(0),
        deserialize_u32 => visit_u64(0),
        deserialize_u64 => visit_u64(0),
        deserialize_str => visit_borrowed_str(""),
        deserialize_string => visit_borrowed_str(""),
        deserialize_seq => visit_seq(SeqDeserializer::new(std::iter::empty::<Blank>())),
        deserialize_map => visit_map(MapDeserializer::new(std::iter::empty::<(&str, Blank)>())),
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_none()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_map(MapDeserializer::new(fields.iter().map(|field| (*field, Blank))))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let variant: StrDeserializer<'_, Fault> = variants.first().copied().unwrap_or_default().into_deserializer();
        visitor.visit_enum(variant)
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}
