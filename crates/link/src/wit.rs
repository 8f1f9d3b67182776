//! Types in WIT's words, for errors.

use crate::world::{Defined, ResourceIndex, Type, World};

/// Longest text of one type, bytes; what is longer is cut with `...`.
const MAX_TEXT: usize = 240;
/// Types within types are named so deep.
const MAX_DEPTH: usize = 6;

/// `list<record { id: u32, name: string }>`.
pub(crate) fn type_text(world: &World, ty: Type) -> String {
    let mut writer = Writer { world, text: String::new() };
    writer.value(ty, 0);
    writer.finish()
}

/// A result's type, of which there may be none.
pub(crate) fn optional_text(world: &World, ty: Option<Type>) -> String {
    ty.map_or_else(|| "nothing".to_owned(), |ty| type_text(world, ty))
}

struct Writer<'a> {
    world: &'a World,
    text: String,
}

impl Writer<'_> {
    fn finish(mut self) -> String {
        if self.text.len() > MAX_TEXT {
            let cut = (0..=MAX_TEXT).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0);
            self.text.truncate(cut);
            self.text.push_str("...");
        }
        self.text
    }

    fn value(&mut self, ty: Type, depth: usize) {
        match ty {
            Type::Primitive(name) => self.text.push_str(name),
            Type::Defined(_) if depth > MAX_DEPTH || self.text.len() > MAX_TEXT => self.text.push_str("..."),
            Type::Defined(place) => self.defined(place, depth),
        }
    }

    fn defined(&mut self, place: usize, depth: usize) {
        let world = self.world;
        match &world.types[place] {
            Defined::Alias(ty) => self.value(*ty, depth),
            Defined::Record(fields) => {
                let fields = fields.iter().map(|(name, ty)| (name.as_str(), Some(*ty)));
                self.named("record", ": ", "", fields, depth);
            }
            Defined::Variant(cases) => {
                let cases = cases.iter().map(|(name, ty)| (name.as_str(), *ty));
                self.named("variant", "(", ")", cases, depth);
            }
            Defined::Flags(names) => self.named("flags", "", "", names.iter().map(|name| (name.as_str(), None)), depth),
            Defined::Enum(names) => self.named("enum", "", "", names.iter().map(|name| (name.as_str(), None)), depth),
            Defined::List(ty) => self.of("list", &[Some(*ty)], depth),
            Defined::FixedList(ty, length) => {
                self.text.push_str("list<");
                self.value(*ty, depth + 1);
                self.text.push_str(&format!(", {length}>"));
            }
            Defined::Map(key, value) => self.of("map", &[Some(*key), Some(*value)], depth),
            Defined::Tuple(types) => {
                let types: Vec<Option<Type>> = types.iter().copied().map(Some).collect();
                self.of("tuple", &types, depth);
            }
            Defined::Option(ty) => self.of("option", &[Some(*ty)], depth),
            Defined::Result(None, None) => self.text.push_str("result"),
            Defined::Result(ok, None) => self.of("result", &[*ok], depth),
            Defined::Result(ok, err) => self.of("result", &[*ok, *err], depth),
            Defined::Stream(None) => self.text.push_str("stream"),
            Defined::Stream(ty) => self.of("stream", &[*ty], depth),
            Defined::Future(None) => self.text.push_str("future"),
            Defined::Future(ty) => self.of("future", &[*ty], depth),
            Defined::Own(resource) => self.resource(*resource),
            Defined::Borrow(resource) => {
                self.text.push_str("borrow<");
                self.resource(*resource);
                self.text.push('>');
            }
        }
    }

    fn resource(&mut self, resource: ResourceIndex) {
        self.text.push_str(&self.world.resources[resource].name);
    }

    /// `tuple<u8, string>`; what is absent is `_`.
    fn of(&mut self, word: &str, types: &[Option<Type>], depth: usize) {
        self.text.push_str(word);
        let mut before = "<";
        for ty in types {
            self.text.push_str(before);
            match ty {
                Some(ty) => self.value(*ty, depth + 1),
                None => self.text.push('_'),
            }
            before = ", ";
            if self.text.len() > MAX_TEXT {
                return;
            }
        }
        self.text.push('>');
    }

    /// `record { id: u32 }`, `variant { other(string) }`.
    fn named<'n>(&mut self, word: &str, open: &str, close: &str, parts: impl Iterator<Item = (&'n str, Option<Type>)>, depth: usize) {
        self.text.push_str(word);
        let mut before = " { ";
        for (name, ty) in parts {
            self.text.push_str(before);
            self.text.push_str(name);
            if let Some(ty) = ty {
                self.text.push_str(open);
                self.value(ty, depth + 1);
                self.text.push_str(close);
            }
            before = ", ";
            if self.text.len() > MAX_TEXT {
                return;
            }
        }
        self.text.push_str(" }");
    }
}
