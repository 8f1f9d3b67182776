//! What a component imports and exports, with types: all that planning needs of it.

mod read;

use std::collections::HashMap;

pub use read::{MAX_COMPONENT_BYTES, MAX_NAMES, MAX_TYPES, ReadError};

/// Imports and exports of one component, with their types.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) imports: Named<Item>,
    pub(crate) exports: Named<Item>,
    pub(crate) types: Vec<Defined>,
    pub(crate) resources: Vec<Resource>,
    /// What it imports or exports that no WIT world has, if anything: its name and kind. Such a component runs by itself alone.
    pub(crate) odd: Option<(String, &'static str)>,
}

impl World {
    /// Reads what the component in `bytes` imports and exports. The code in it is passed over: who compiles it validates it.
    ///
    /// # Errors
    ///
    /// When they are no component, an invalid one, or one past [`MAX_COMPONENT_BYTES`], [`MAX_NAMES`] or [`MAX_TYPES`].
    pub fn read(bytes: &[u8]) -> Result<World, ReadError> {
        read::world(bytes)
    }

    /// How much there is of it: types, resources, and names outside and within interfaces.
    pub fn size(&self) -> usize {
        let inner = |item: &Item| if let Item::Interface(items) = item { items.names().count() } else { 0 };
        let names = |items: &Named<Item>| items.iter().map(|(_, item)| 1 + inner(item)).sum::<usize>();
        self.types.len() + self.resources.len() + names(&self.imports) + names(&self.exports)
    }

    /// Names of imports, in the component's order: `wasi:http/types@0.2.3`, or a function's own name.
    pub fn imports(&self) -> impl Iterator<Item = &str> {
        self.imports.names()
    }

    /// Names of exports, in the component's order.
    pub fn exports(&self) -> impl Iterator<Item = &str> {
        self.exports.names()
    }
}

/// Values under names, in order, found by name.
#[derive(Clone, Debug)]
pub(crate) struct Named<T> {
    entries: Vec<(String, T)>,
    places: HashMap<String, usize>,
}

impl<T> Named<T> {
    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.places.get(name).map(|place| &self.entries[*place].1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }
}

impl<T> FromIterator<(String, T)> for Named<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(entries: I) -> Named<T> {
        let entries: Vec<(String, T)> = entries.into_iter().collect();
        let places = entries.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        Named { entries, places }
    }
}

/// What is imported or exported.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Func(Func),
    Interface(Named<Item>),
    Type(Type),
    Resource(ResourceIndex),
    /// What no WIT world has: a core module, a component, a value, an interface within another.
    Other(&'static str),
}

impl Item {
    /// In the words of an error.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Item::Func(_) => "a function",
            Item::Interface(_) => "an interface",
            Item::Type(_) => "a type",
            Item::Resource(_) => "a resource",
            Item::Other(kind) => kind,
        }
    }
}

/// A function's type.
#[derive(Clone, Debug)]
pub(crate) struct Func {
    pub(crate) is_async: bool,
    pub(crate) params: Vec<(String, Type)>,
    pub(crate) result: Option<Type>,
}

/// A place in [`World::resources`].
pub(crate) type ResourceIndex = usize;

/// A value's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    /// By its name in WIT.
    Primitive(&'static str),
    /// A place in [`World::types`].
    Defined(usize),
}

/// A type made of others.
#[derive(Clone, Debug)]
pub(crate) enum Defined {
    Alias(Type),
    Record(Vec<(String, Type)>),
    Variant(Vec<(String, Option<Type>)>),
    List(Type),
    FixedList(Type, u32),
    Map(Type, Type),
    Tuple(Vec<Type>),
    Flags(Vec<String>),
    Enum(Vec<String>),
    Option(Type),
    Result(Option<Type>, Option<Type>),
    Own(ResourceIndex),
    Borrow(ResourceIndex),
    Stream(Option<Type>),
    Future(Option<Type>),
}

/// A resource type, known by who brought it into the component.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    /// Its name there: `descriptor`.
    pub(crate) name: String,
    pub(crate) origin: Origin,
}

/// Where a resource type comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From the import of this name, which is an interface or the resource itself.
    Import(String),
    /// The component defines it; the export of this name was the first to show it.
    Export(String),
}
