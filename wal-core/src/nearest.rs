//! What somebody may have meant.

/// The candidate nearest to `wanted`, if one is near enough to be a slip of the fingers. The first of
/// equals, so that the answer does not depend on anything but the arguments' order.
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const MAX_LENGTH: usize = 128;
    let letters: Vec<char> = wanted.to_lowercase().chars().take(MAX_LENGTH).collect();
    let near_enough = (letters.len() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other: Vec<char> = candidate.to_lowercase().chars().take(MAX_LENGTH).collect();
        let distance = edits(&letters, &other);
        if distance <= near_enough && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// `: did you mean "x"?`, or nothing, for the end of an error message.
pub fn suggestion<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wanted, candidates).map_or_else(String::new, |name| format!(": did you mean {name:?}?"))
}

/// How many letters to insert, remove, replace or swap with the next to get from one to the other.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before_last[j - 2] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_fingers_are_recognised_and_other_words_are_not() {
        let names = ["accounts", "transfers", "id"];
        assert_eq!(nearest("acounts", names), Some("accounts"));
        assert_eq!(nearest("Accounts", names), Some("accounts"));
        assert_eq!(nearest("tarnsfers", names), Some("transfers"));
        assert_eq!(nearest("ids", names), Some("id"));
        assert_eq!(nearest("orders", names), None);
        assert_eq!(nearest("", []), None);
        assert_eq!(suggestion("acount", names), ": did you mean \"accounts\"?");
        assert_eq!(suggestion("zebra", names), "");
    }
}
