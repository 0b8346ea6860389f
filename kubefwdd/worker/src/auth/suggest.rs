//! "Did you mean": the candidate nearest to a name that does not exist.

use strsim::osa_distance;

/// The candidate with the fewest edits to `name`, if they are few enough for a typo.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (osa_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_recognized_and_another_name_is_not() {
        let contexts = ["minikube", "production", "staging"];
        assert_eq!(nearest("minikub", contexts), Some("minikube"));
        assert_eq!(nearest("Staging", contexts), Some("staging"));
        assert_eq!(nearest("stagnig", contexts), Some("staging"));
        assert_eq!(nearest("rael", ["broken", "real"]), Some("real"));
        assert_eq!(nearest("dev", contexts), None);
        assert_eq!(nearest("", []), None);
    }
}
