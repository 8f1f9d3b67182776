//! Reading a component's types out of its bytes.

use std::collections::HashMap;

use wasmparser::component_types::{
    AliasableResourceId, ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType, ComponentFuncTypeId,
    ComponentInstanceTypeId, ComponentValType, ResourceId,
};
use wasmparser::types::Types;
use wasmparser::{Encoding, Parser, Payload, PrimitiveValType, ValidPayload, Validator, WasmFeatures};

use super::{Defined, Func, Item, Named, Origin, Resource, ResourceIndex, Type, World};

/// Largest component that is read, bytes.
pub const MAX_COMPONENT_BYTES: usize = 256 << 20;
/// Most names that a component may import and export, those within interfaces included.
pub const MAX_NAMES: usize = 100_000;
/// Most different types in what it imports and exports.
pub const MAX_TYPES: usize = 100_000;

/// Bytes whose imports and exports can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// They are something else.
    #[error("it is not a WebAssembly component")]
    NotAComponent,
    /// They are not valid.
    #[error("the component is not valid: {0}")]
    Invalid(String),
    /// There are more than [`MAX_COMPONENT_BYTES`].
    #[error("the component has {bytes} bytes, and the limit is {MAX_COMPONENT_BYTES}")]
    TooLarge {
        /// Bytes that are there.
        bytes: usize,
    },
    /// There are more than [`MAX_NAMES`] names.
    #[error("the component imports and exports more than {MAX_NAMES} names")]
    TooManyNames,
    /// There are more than [`MAX_TYPES`] types.
    #[error("the component uses more than {MAX_TYPES} types in what it imports and exports")]
    TooManyTypes,
}

pub(super) fn world(bytes: &[u8]) -> Result<World, ReadError> {
    if bytes.len() > MAX_COMPONENT_BYTES {
        return Err(ReadError::TooLarge { bytes: bytes.len() });
    }
    if !Parser::is_component(bytes) {
        return Err(ReadError::NotAComponent);
    }
    let (imports, exports, types) = outline(bytes).map_err(|error| ReadError::Invalid(error.message().to_owned()))?;
    let types = types.ok_or(ReadError::NotAComponent)?;
    let mut reader =
        Reader { types: &types, defined: Vec::new(), known: HashMap::new(), resources: Resources::default(), names: 0, odd: None };
    let mut read = |names: Vec<String>, side: Side| -> Result<Named<Item>, ReadError> {
        let mut items = Vec::with_capacity(names.len().min(MAX_NAMES));
        for name in names {
            let found = match side {
                Side::Import => types.component_item_for_import(&name),
                Side::Export => types.component_item_for_export(&name),
            };
            let found = found.ok_or_else(|| ReadError::Invalid(format!("`{name}` is not there")))?;
            let place = Place { side, name: &name };
            let item = match &found.ty {
                ComponentEntityType::Instance(id) => Item::Interface(reader.interface(*id, &place)?),
                other => reader.item(&name, other, &place)?,
            };
            items.push((name, item));
        }
        Ok(items.into_iter().collect())
    };
    let (imports, exports) = (read(imports, Side::Import)?, read(exports, Side::Export)?);
    Ok(World { imports, exports, types: reader.defined, resources: reader.resources.all, odd: reader.odd })
}

type Outline = (Vec<String>, Vec<String>, Option<Types>);

/// Names of the outermost imports and exports, and the types behind them. Nested modules and components are validated but for the bodies
/// of functions.
fn outline(bytes: &[u8]) -> Result<Outline, wasmparser::BinaryReaderError> {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let (mut imports, mut exports, mut found) = (Vec::new(), Vec::new(), None);
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        match &payload {
            Payload::Version { encoding: Encoding::Component | Encoding::Module, .. } => depth += 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section.clone() {
                    imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section.clone() {
                    exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
        if let ValidPayload::End(types) = validator.payload(&payload)? {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                found = Some(types);
            }
        }
    }
    Ok((imports, exports, found))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Import,
    Export,
}

/// Which import or export is being read.
struct Place<'a> {
    side: Side,
    name: &'a str,
}

impl Place<'_> {
    fn origin(&self) -> Origin {
        match self.side {
            Side::Import => Origin::Import(self.name.to_owned()),
            Side::Export => Origin::Export(self.name.to_owned()),
        }
    }
}

/// Resource types, each where it was seen first: imports come before exports, and what is used before what uses it.
#[derive(Default)]
struct Resources {
    all: Vec<Resource>,
    known: HashMap<ResourceId, ResourceIndex>,
}

impl Resources {
    fn index(&mut self, id: AliasableResourceId, name: &str, place: &Place<'_>) -> ResourceIndex {
        *self.known.entry(id.resource()).or_insert_with(|| {
            self.all.push(Resource { name: name.to_owned(), origin: place.origin() });
            self.all.len() - 1
        })
    }
}

struct Reader<'a> {
    types: &'a Types,
    defined: Vec<Defined>,
    /// Each type once, so that the work is linear in the component's types.
    known: HashMap<ComponentDefinedTypeId, Type>,
    resources: Resources,
    names: usize,
    odd: Option<(String, &'static str)>,
}

impl Reader<'_> {
    fn item(&mut self, name: &str, entity: &ComponentEntityType, place: &Place<'_>) -> Result<Item, ReadError> {
        self.names += 1;
        if self.names > MAX_NAMES {
            return Err(ReadError::TooManyNames);
        }
        Ok(match entity {
            ComponentEntityType::Func(id) => Item::Func(self.func(*id, place)?),
            ComponentEntityType::Type { created: ComponentAnyTypeId::Defined(id), .. } => Item::Type(self.defined(*id, place)?),
            ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(id), .. } => {
                Item::Resource(self.resources.index(*id, name, place))
            }
            // Nesting of these isn't bounded, so nobody here goes into them.
            ComponentEntityType::Instance(_) => self.odd(name, "an interface within another"),
            ComponentEntityType::Type { .. } => self.odd(name, "a type that isn't of values"),
            ComponentEntityType::Module(_) => self.odd(name, "a core module"),
            ComponentEntityType::Component(_) => self.odd(name, "a component"),
            ComponentEntityType::Value(_) => self.odd(name, "a value"),
        })
    }

    fn odd(&mut self, name: &str, kind: &'static str) -> Item {
        self.odd.get_or_insert_with(|| (name.to_owned(), kind));
        Item::Other(kind)
    }

    fn interface(&mut self, id: ComponentInstanceTypeId, place: &Place<'_>) -> Result<Named<Item>, ReadError> {
        let types = self.types;
        let mut items = Vec::new();
        for (name, item) in &types[id].exports {
            items.push((name.clone(), self.item(name, &item.ty, place)?));
        }
        Ok(items.into_iter().collect())
    }

    fn func(&mut self, id: ComponentFuncTypeId, place: &Place<'_>) -> Result<Func, ReadError> {
        let func = &self.types[id];
        let mut params = Vec::with_capacity(func.params.len());
        for (name, ty) in &func.params {
            params.push((name.to_string(), self.value(*ty, place)?));
        }
        let result = self.optional(func.result, place)?;
        Ok(Func { is_async: func.async_, params, result })
    }

    fn value(&mut self, ty: ComponentValType, place: &Place<'_>) -> Result<Type, ReadError> {
        match ty {
            ComponentValType::Primitive(ty) => Ok(Type::Primitive(primitive(ty))),
            ComponentValType::Type(id) => self.defined(id, place),
        }
    }

    fn optional(&mut self, ty: Option<ComponentValType>, place: &Place<'_>) -> Result<Option<Type>, ReadError> {
        ty.map(|ty| self.value(ty, place)).transpose()
    }

    /// Types nest at most 100 deep: the validator sees to it.
    fn defined(&mut self, id: ComponentDefinedTypeId, place: &Place<'_>) -> Result<Type, ReadError> {
        if let Some(known) = self.known.get(&id) {
            return Ok(*known);
        }
        let types = self.types;
        let defined = match &types[id] {
            ComponentDefinedType::Primitive(ty) => Defined::Alias(Type::Primitive(primitive(*ty))),
            ComponentDefinedType::Record(record) => {
                let fields = record.fields.iter().map(|(name, ty)| Ok((name.to_string(), self.value(*ty, place)?)));
                Defined::Record(fields.collect::<Result<_, ReadError>>()?)
            }
            ComponentDefinedType::Variant(variant) => {
                let cases = variant.cases.iter().map(|(name, case)| Ok((name.to_string(), self.optional(case.ty, place)?)));
                Defined::Variant(cases.collect::<Result<_, ReadError>>()?)
            }
            ComponentDefinedType::List { element, .. } => Defined::List(self.value(*element, place)?),
            ComponentDefinedType::FixedLengthList { element, length, .. } => Defined::FixedList(self.value(*element, place)?, *length),
            ComponentDefinedType::Map { key, value, .. } => Defined::Map(self.value(*key, place)?, self.value(*value, place)?),
            ComponentDefinedType::Tuple(tuple) => {
                Defined::Tuple(tuple.types.iter().map(|ty| self.value(*ty, place)).collect::<Result<_, _>>()?)
            }
            ComponentDefinedType::Flags(names) => Defined::Flags(names.iter().map(ToString::to_string).collect()),
            ComponentDefinedType::Enum(names) => Defined::Enum(names.iter().map(ToString::to_string).collect()),
            ComponentDefinedType::Option { ty, .. } => Defined::Option(self.value(*ty, place)?),
            ComponentDefinedType::Result { ok, err, .. } => Defined::Result(self.optional(*ok, place)?, self.optional(*err, place)?),
            ComponentDefinedType::Own(id) => Defined::Own(self.resources.index(*id, "resource", place)),
            ComponentDefinedType::Borrow(id) => Defined::Borrow(self.resources.index(*id, "resource", place)),
            ComponentDefinedType::Future { ty, .. } => Defined::Future(self.optional(*ty, place)?),
            ComponentDefinedType::Stream { ty, .. } => Defined::Stream(self.optional(*ty, place)?),
        };
        if self.defined.len() >= MAX_TYPES {
            return Err(ReadError::TooManyTypes);
        }
        self.defined.push(defined);
        let ty = Type::Defined(self.defined.len() - 1);
        self.known.insert(id, ty);
        Ok(ty)
    }
}

fn primitive(ty: PrimitiveValType) -> &'static str {
    match ty {
        PrimitiveValType::Bool => "bool",
        PrimitiveValType::S8 => "s8",
        PrimitiveValType::U8 => "u8",
        PrimitiveValType::S16 => "s16",
        PrimitiveValType::U16 => "u16",
        PrimitiveValType::S32 => "s32",
        PrimitiveValType::U32 => "u32",
        PrimitiveValType::S64 => "s64",
        PrimitiveValType::U64 => "u64",
        PrimitiveValType::F32 => "f32",
        PrimitiveValType::F64 => "f64",
        PrimitiveValType::Char => "char",
        PrimitiveValType::String => "string",
        PrimitiveValType::ErrorContext => "error-context",
    }
}
