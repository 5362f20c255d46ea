//! What a program printed beside what the book says: `[..]` is any text within a line, a line `...` any number of lines.

/// The word for any text within a line.
const ANY: &str = "[..]";
/// The line for any number of lines.
const ANY_LINES: &str = "...";

/// Whether the printed lines are the ones of the book.
pub(crate) fn is_same<E: AsRef<str>, P: AsRef<str>>(expected: &[E], printed: &[P]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.as_ref() == ANY_LINES => {
            (0..=printed.len()).any(|skipped| is_same(rest, &printed[skipped..]))
        }
        Some((first, rest)) => printed.split_first().is_some_and(|(line, others)| {
            is_same_line(first.as_ref(), line.as_ref()) && is_same(rest, others)
        }),
    }
}

/// How many lines have to come at least.
pub(crate) fn least<E: AsRef<str>>(expected: &[E]) -> usize {
    expected.iter().filter(|line| line.as_ref() != ANY_LINES).count()
}

fn is_same_line(expected: &str, printed: &str) -> bool {
    let (expected, printed) = (expected.trim_end(), printed.trim_end());
    let mut parts = expected.split(ANY);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Both, one over the other, for who has to find the difference.
pub(crate) fn side_by_side<E: AsRef<str>, P: AsRef<str>>(expected: &[E], printed: &[P]) -> String {
    let mut text = String::from("  the book:\n");
    for line in expected {
        text.extend(["    ", line.as_ref(), "\n"]);
    }
    text.push_str("  printed:\n");
    for line in printed {
        text.extend(["    ", line.as_ref(), "\n"]);
    }
    text
}

#[test]
fn any_text_matches_within_its_line_alone() {
    assert!(is_same_line("port [..] of [..].", "port 4711 of lo."));
    assert!(!is_same_line("port [..] of [..].", "port 4711 of lo"));
    assert!(is_same_line("salmon 3  ", "salmon 3"));
    assert!(!is_same_line("salmon 3", "salmon 35"));
    assert!(!is_same_line("ab[..]b", "ab"));
    assert!(is_same(&["a", "...", "d"], &["a", "b", "c", "d"]));
    assert!(is_same(&["a", "...", "d"], &["a", "d"]));
    assert!(!is_same(&["a", "...", "d"], &["a", "b"]));
    assert!(!is_same(&["a"], &["a", "b"]));
    assert!(!is_same(&["a", "b"], &["a"]));
}
