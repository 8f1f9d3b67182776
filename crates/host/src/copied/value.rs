//! What of a value crosses from store to store, and how large it is.
//!
//! Values are counted as they lie in the host, for that is what is bounded: each takes [`VALUE_BYTES`], and beside that the text of strings and of
//! the names of fields, cases and flags. So a byte in a list weighs as much as any number.

use wasmtime::component::Val;

/// Most bytes of the arguments of one call, and of its result (L31): as much as one call may copy out of any guest.
pub(crate) const MAX_BYTES: usize = 16 << 20;
/// What each value takes.
const VALUE_BYTES: usize = size_of::<Val>();

/// Why values aren't copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// They have more than [`MAX_BYTES`].
    TooLarge,
    /// There is one among them that means something only in its own store. A plan has none of these.
    Handle,
}

/// The bytes of values, if they may cross.
pub(crate) fn bytes(values: &[Val]) -> Result<usize, Refused> {
    let mut count = Count(0);
    count.all(values)?;
    Ok(count.0)
}

struct Count(usize);

impl Count {
    fn add(&mut self, bytes: usize) -> Result<(), Refused> {
        self.0 = self.0.saturating_add(bytes);
        if self.0 > MAX_BYTES { Err(Refused::TooLarge) } else { Ok(()) }
    }

    fn all(&mut self, values: &[Val]) -> Result<(), Refused> {
        values.iter().try_for_each(|value| self.one(value))
    }

    /// As deep as its type is, which the engine bounds.
    fn one(&mut self, value: &Val) -> Result<(), Refused> {
        self.add(VALUE_BYTES)?;
        match value {
            Val::Bool(_)
            | Val::S8(_)
            | Val::U8(_)
            | Val::S16(_)
            | Val::U16(_)
            | Val::S32(_)
            | Val::U32(_)
            | Val::S64(_)
            | Val::U64(_)
            | Val::Float32(_)
            | Val::Float64(_)
            | Val::Char(_)
            | Val::Option(None)
            | Val::Result(Ok(None) | Err(None)) => Ok(()),
            Val::String(text) | Val::Enum(text) | Val::Variant(text, None) => self.add(text.len()),
            Val::List(values) | Val::Tuple(values) | Val::FixedLengthList(values) => self.all(values),
            Val::Map(entries) => entries.iter().try_for_each(|(key, value)| self.one(key).and_then(|()| self.one(value))),
            Val::Record(fields) => fields.iter().try_for_each(|(name, value)| self.add(name.len()).and_then(|()| self.one(value))),
            Val::Variant(case, Some(value)) => self.add(case.len()).and_then(|()| self.one(value)),
            Val::Option(Some(value)) | Val::Result(Ok(Some(value)) | Err(Some(value))) => self.one(value),
            Val::Flags(names) => names.iter().try_for_each(|name| self.add(VALUE_BYTES.saturating_add(name.len()))),
            Val::Resource(_) | Val::Future(_) | Val::Stream(_) | Val::ErrorContext(_) => Err(Refused::Handle),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Val {
        Val::String(text.to_owned())
    }

    #[test]
    fn every_plain_value_is_counted_with_its_text() {
        let record = Val::Record(vec![("x".into(), Val::S32(1)), ("label".into(), text("four"))]);
        for (value, values, text_bytes) in [
            (Val::Bool(true), 1, 0),
            (text("abc"), 1, 3),
            (Val::List(vec![Val::U8(1); 10]), 11, 0),
            (record.clone(), 3, 10),
            (Val::Tuple(vec![Val::Char('a'), Val::Float64(0.5)]), 3, 0),
            (Val::Variant("named".into(), Some(Box::new(record))), 4, 15),
            (Val::Variant("dot".into(), None), 1, 3),
            (Val::Enum("red".into()), 1, 3),
            (Val::Option(Some(Box::new(Val::U64(1)))), 2, 0),
            (Val::Option(None), 1, 0),
            (Val::Result(Err(Some(Box::new(text("no"))))), 2, 2),
            (Val::Result(Ok(None)), 1, 0),
            (Val::Flags(vec!["a".into(), "bc".into()]), 3, 3),
            (Val::Map(vec![(text("k"), Val::U8(1))]), 3, 1),
        ] {
            assert_eq!(bytes(std::slice::from_ref(&value)), Ok(values * VALUE_BYTES + text_bytes), "{value:?}");
        }
        assert_eq!(bytes(&[]), Ok(0));
    }

    #[test]
    fn l31_values_past_the_bound_are_refused_wherever_they_lie() {
        let half = || text(&"x".repeat(MAX_BYTES / 2 - VALUE_BYTES));
        assert_eq!(bytes(&[half(), half()]), Ok(MAX_BYTES));
        assert_eq!(bytes(&[half(), half(), Val::Bool(true)]), Err(Refused::TooLarge));
        assert_eq!(bytes(&[Val::Option(Some(Box::new(Val::List(vec![half(), half()]))))]), Err(Refused::TooLarge));
        let list = |length: usize| Val::List(vec![Val::U8(0); length]);
        assert!(bytes(&[list(MAX_BYTES / VALUE_BYTES - 1)]).is_ok());
        assert_eq!(bytes(&[list(MAX_BYTES / VALUE_BYTES)]), Err(Refused::TooLarge));
    }
}
