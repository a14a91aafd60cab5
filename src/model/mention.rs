//! Mentions: which names stand in a text after an `@`. Whether they are anybody's, and a member's, the store knows.

use unicode_normalization::UnicodeNormalization;

use super::username::{USERNAME_CHARS_MAX, Username};

/// Places of one text that are looked at, different ones; further ones mention nobody.
pub const MENTIONS_MAX: usize = 50;

/// What stands after each `@`, in order, as the names that it may be, the longest first: a full stop may be part of a
/// name or end a sentence. An `@` after a letter or a digit begins no name, as in a mail address.
pub fn mentioned(text: &str) -> Vec<Vec<Username>> {
    if !text.contains('@') {
        return Vec::new();
    }
    // Names are kept in this form, however they were typed.
    let text: String = text.nfkc().collect();
    let mut places: Vec<Vec<Username>> = Vec::new();
    let mut before = None::<char>;
    for (at, c) in text.char_indices() {
        if c == '@' && !before.is_some_and(char::is_alphanumeric) {
            let rest = &text[at + 1..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || is_mark(c))).unwrap_or(rest.len());
            let names = names(&rest[..end]);
            if !names.is_empty() && !places.contains(&names) {
                places.push(names);
            }
            if places.len() == MENTIONS_MAX {
                break;
            }
        }
        before = Some(c);
    }
    places
}

/// The run as it is, without its last mark, and without any mark at its end.
fn names(run: &str) -> Vec<Username> {
    let mut names: Vec<Username> = Vec::new();
    for name in [run, run.strip_suffix(is_mark).unwrap_or(run), run.trim_end_matches(is_mark)] {
        // Anything longer is no name, and need not be looked at letter by letter.
        if name.len() <= 4 * USERNAME_CHARS_MAX
            && let Ok(name) = Username::parse(name)
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

fn is_mark(c: char) -> bool {
    matches!(c, '_' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<Vec<String>> {
        let shown = |names: Vec<Username>| names.iter().map(|name| name.as_str().to_owned()).collect();
        mentioned(text).into_iter().map(shown).collect()
    }

    #[test]
    fn names_end_where_sentences_do() {
        assert_eq!(found("hi @bob."), [["bob.", "bob"]]);
        assert_eq!(
            found("hi @bob... and @al.ice, @c_d!"),
            [vec!["bob...", "bob..", "bob"], vec!["al.ice"], vec!["c_d"]]
        );
        assert_eq!(found("(@bob) _@eve_ @bob's /@dan"), [vec!["bob"], vec!["eve_", "eve"], vec!["dan"]]);
        assert_eq!(found("@Анна, @田中 @müller @mu\u{308}ller"), [["Анна"], ["田中"], ["müller"]]);
    }

    #[test]
    fn what_is_no_name_mentions_nobody() {
        let long = format!("@{}", "x".repeat(5_000));
        for text in ["", "@", "a@b.c", "@ bob", "@@", "@!", "@...", "nobody", long.as_str()] {
            let names = found(text);
            assert!(names.iter().flatten().all(|name| name.chars().all(is_mark)), "{text:?}: {names:?}");
        }
    }

    #[test]
    fn they_are_bounded() {
        let text: String = (0..500).map(|number| format!("@user{number} ")).collect();
        assert_eq!(mentioned(&text).len(), MENTIONS_MAX);
        assert_eq!(mentioned(&"@bob ".repeat(500)).len(), 1);
    }
}
