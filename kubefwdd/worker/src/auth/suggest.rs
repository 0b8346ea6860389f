//! "Did you mean": the candidate that is nearest to a name that does not exist.

/// The candidate with the fewest edits to `name`, if they are few enough for a slip of the keyboard.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The edits from one to the other: characters replaced, added, left out, and neighbours exchanged (the optimal string
/// alignment distance).
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut before = vec![0; right.len() + 1];
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1; right.len() + 1];
        for (j, b) in right.iter().enumerate() {
            let replaced = above[j] + usize::from(a != b);
            let exchanged = if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                before[j - 1] + 1
            } else {
                usize::MAX
            };
            let added = row[j].min(above[j + 1]) + 1;
            row[j + 1] = replaced.min(exchanged).min(added);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognized_and_another_name_is_not() {
        let contexts = ["minikube", "production", "staging"];
        assert_eq!(nearest("minikub", contexts), Some("minikube"));
        assert_eq!(nearest("Staging", contexts), Some("staging"));
        assert_eq!(nearest("stagnig", contexts), Some("staging"));
        assert_eq!(nearest("rael", ["broken", "real"]), Some("real"));
        assert_eq!(nearest("dev", contexts), None);
        assert_eq!(nearest("", []), None);
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
