//! "Did you mean ...?" (L60).

/// The candidate that a person most likely meant by `word`: equal but for case, or at most a third of its letters away.
/// `None` when nothing is near.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // No name of ours is longer; comparing costs the product of the lengths.
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let lower = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean ...?` or nothing, to put behind a message.
pub(crate) fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, candidates).map(|c| format!("; did you mean `{c}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l60_a_slip_is_recognized_and_another_word_is_not() {
        let words = ["replicas", "template", "deployPolicy"];
        assert_eq!(closest("replcas", words), Some("replicas"));
        assert_eq!(closest("repilcas", words), Some("replicas"));
        assert_eq!(closest("DEPLOYPOLICY", words), Some("deployPolicy"));
        assert_eq!(closest("image", words), None);
        assert_eq!(closest("", words), None);
        assert_eq!(closest(&"x".repeat(1 << 20), words), None);
    }
}
