//! The functions of a divided interface under names of their member (see [`crate::renamed_function`]).
//!
//! All members import the interface under its own name, so that its types are the same for all of them; in the composed component it has
//! the functions that they share, and each member's own. A function's name stands where the interface's type is written out, and where
//! the component takes the function from it. Where the interface as a whole is handed to a component within, as in one that was composed
//! of others, the same holds there.
//!
//! Nothing here guesses: what is imported is what the type says, and of that every function is either shared or renamed. A name that is
//! overlooked elsewhere, by a use of the interface that has another form, leads to nothing, and the component isn't valid.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentType, ComponentTypeRef,
    InstanceTypeDeclaration,
};

use super::sections::{ALIASES, COMPONENT, EXPORTS, HEADER_BYTES, IMPORTS, INSTANCES, Section, TYPES, sections, with_names};
use super::{Fault, write};
use crate::authority::renamed_function;

/// How deep a component may lie within others and still be given a divided interface.
const MAX_NESTED: usize = 16;

/// Where a component has divided interfaces.
pub(super) struct Divided {
    member: usize,
    /// Types of such imports, with the name of one.
    types: BTreeMap<u32, String>,
    /// Types of the other imports that are instances.
    others: BTreeSet<u32>,
    /// The imports as instances.
    instances: BTreeMap<u32, String>,
    /// The imports that are exported again: under which names.
    pub(super) passed_on: BTreeMap<String, String>,
    /// Components within that are given one: under which names.
    within: BTreeMap<u32, BTreeSet<String>>,
    /// How many of what there is counted by index come before each section.
    before: Vec<Counts>,
    depth: usize,
}

/// How many there are so far.
#[derive(Clone, Copy, Default)]
struct Counts {
    types: u32,
    instances: u32,
    components: u32,
}

impl Counts {
    fn add(&mut self, kind: ComponentExternalKind) {
        match kind {
            ComponentExternalKind::Type => self.types += 1,
            ComponentExternalKind::Instance => self.instances += 1,
            ComponentExternalKind::Component => self.components += 1,
            _ => {}
        }
    }

    fn add_alias(&mut self, alias: &ComponentAlias<'_>) {
        match alias {
            ComponentAlias::InstanceExport { kind, .. } => self.add(*kind),
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. } => self.types += 1,
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, .. } => self.components += 1,
            ComponentAlias::Outer { .. } | ComponentAlias::CoreInstanceExport { .. } => {}
        }
    }
}

impl Divided {
    /// Finds the imports of member `member` that are `divided`.
    pub(super) fn find(sections: &[Section<'_>], member: usize, divided: &dyn Fn(&str) -> bool) -> Result<Divided, Fault> {
        Divided::find_at(sections, member, divided, 0)
    }

    fn find_at(sections: &[Section<'_>], member: usize, divided: &dyn Fn(&str) -> bool, depth: usize) -> Result<Divided, Fault> {
        let mut found = Divided {
            member,
            types: BTreeMap::new(),
            others: BTreeSet::new(),
            instances: BTreeMap::new(),
            passed_on: BTreeMap::new(),
            within: BTreeMap::new(),
            before: Vec::with_capacity(sections.len()),
            depth,
        };
        let mut counts = Counts::default();
        for section in sections {
            found.before.push(counts);
            found.count(section, divided, &mut counts)?;
        }
        found.check_types(sections)?;
        Ok(found)
    }

    fn count(&mut self, section: &Section<'_>, divided: &dyn Fn(&str) -> bool, counts: &mut Counts) -> Result<(), Fault> {
        match section.id {
            TYPES => counts.types += section.types()?.count(),
            COMPONENT => counts.components += 1,
            IMPORTS => {
                for import in section.imports()? {
                    let import = import?;
                    match import.ty {
                        ComponentTypeRef::Instance(ty) if divided(import.name.name) => {
                            self.types.insert(ty, import.name.name.to_owned());
                            self.instances.insert(counts.instances, import.name.name.to_owned());
                        }
                        ComponentTypeRef::Instance(ty) => drop(self.others.insert(ty)),
                        _ => {}
                    }
                    counts.add(import.ty.kind());
                }
            }
            ALIASES => {
                for alias in section.aliases()? {
                    counts.add_alias(&alias?);
                }
            }
            EXPORTS => {
                for export in section.exports()? {
                    let export = export?;
                    if let (ComponentExternalKind::Instance, Some(interface)) = (export.kind, self.instances.get(&export.index)) {
                        self.passed_on.insert(export.name.name.to_owned(), interface.clone());
                    }
                    counts.add(export.kind);
                }
            }
            INSTANCES => {
                for instance in section.instances()? {
                    if let ComponentInstance::Instantiate { component_index, args } = instance? {
                        let is_divided = |kind: ComponentExternalKind, index: u32| {
                            kind == ComponentExternalKind::Instance && self.instances.contains_key(&index)
                        };
                        let given = args.iter().filter(|arg| is_divided(arg.kind, arg.index)).map(|arg| arg.name.to_owned());
                        let given: BTreeSet<String> = given.collect();
                        if !given.is_empty() {
                            self.within.entry(component_index).or_default().extend(given);
                        }
                    }
                    counts.instances += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Every divided import's type is written out in a section of types.
    fn check_types(&self, sections: &[Section<'_>]) -> Result<(), Fault> {
        for (ty, interface) in &self.types {
            let mut is_written_out = false;
            for (section, before) in sections.iter().zip(&self.before).filter(|(section, _)| section.id == TYPES) {
                let last = before.types + section.types()?.count();
                is_written_out |= (before.types..last).contains(ty);
            }
            if !is_written_out {
                return Err(Fault::Type { interface: interface.clone() });
            }
        }
        Ok(())
    }

    /// One of the interfaces, if there is any.
    pub(super) fn interface(&self) -> Option<&str> {
        self.types.values().next().map(String::as_str)
    }

    /// The section at `place` with other names; none where it has nothing of a divided interface.
    pub(super) fn section(&self, place: usize, section: &Section<'_>) -> Result<Option<Vec<u8>>, Fault> {
        if self.types.is_empty() {
            return Ok(None);
        }
        match section.id {
            TYPES => Ok(Some(with_names(section.body, &self.declared(self.before[place].types, section)?))),
            ALIASES => Ok(Some(with_names(section.body, &self.taken(section)?))),
            COMPONENT => match self.within.get(&self.before[place].components) {
                Some(given) => self.component(section.body, given).map(Some),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// The names of functions where the interfaces' types are written out.
    fn declared<'a>(&self, first: u32, section: &Section<'a>) -> Result<Vec<(&'a str, String)>, Fault> {
        let mut names = Vec::new();
        for (index, ty) in (first..).zip(section.types()?) {
            let (ty, Some(interface)) = (ty?, self.types.get(&index)) else { continue };
            let ComponentType::Instance(declarations) = ty else { return Err(Fault::Type { interface: interface.clone() }) };
            for declaration in declarations {
                if let InstanceTypeDeclaration::Export { name, ty: ComponentTypeRef::Func(_) } = declaration {
                    let renamed = self.name(interface, name.name)?;
                    if renamed != name.name && self.others.contains(&index) {
                        return Err(Fault::Shared { interface: interface.clone() });
                    }
                    names.push((name.name, renamed));
                }
            }
        }
        Ok(names)
    }

    /// The names of functions where they are taken from the interfaces.
    fn taken<'a>(&self, section: &Section<'a>) -> Result<Vec<(&'a str, String)>, Fault> {
        let mut names = Vec::new();
        for alias in section.aliases()? {
            let ComponentAlias::InstanceExport { kind: ComponentExternalKind::Func, instance_index, name } = alias? else { continue };
            if let Some(interface) = self.instances.get(&instance_index) {
                names.push((name, self.name(interface, name)?));
            }
        }
        Ok(names)
    }

    fn name(&self, interface: &str, function: &str) -> Result<String, Fault> {
        let renamed = renamed_function(self.member, function);
        renamed.ok_or_else(|| Fault::Function { interface: interface.to_owned(), function: function.to_owned() })
    }

    /// A component within that is given divided interfaces under these names.
    fn component(&self, bytes: &[u8], given: &BTreeSet<String>) -> Result<Vec<u8>, Fault> {
        if self.depth >= MAX_NESTED {
            let interface = given.first().cloned().unwrap_or_default();
            return Err(Fault::Nested { interface, most: MAX_NESTED });
        }
        let all = sections(bytes)?;
        let divided = Divided::find_at(&all, self.member, &|import| given.contains(import), self.depth + 1)?;
        let mut out = Vec::with_capacity(bytes.len() + 64);
        out.extend_from_slice(&bytes[..HEADER_BYTES]);
        for (place, section) in all.iter().enumerate() {
            let written = divided.section(place, section)?;
            write(&mut out, section.id, written.as_deref().unwrap_or(section.body));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests;
