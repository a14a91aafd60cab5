//! Usernames for the users of the operator's issuers, made from what their token wishes.

use crate::model::{USERNAME_CHARS_MAX, Username};

/// Letters and digits that are not mistaken for one another.
const TAIL_LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
const TAIL_CHARS: usize = 4;
const NOBODY: &str = "user";

/// Names to try, in order, without end: the wish itself where it is a name that may be had, then what is left of it
/// with a short random tail, another one each time.
pub fn candidates(wished: &str) -> impl Iterator<Item = Username> {
    let exact = Username::parse(wished.trim()).ok().filter(|name| !name.is_reserved());
    let stem = stem(wished);
    exact.into_iter().chain(std::iter::repeat_with(move || with_tail(&stem)))
}

/// What of the wish can stand in a name, short enough for a tail behind it.
fn stem(wished: &str) -> String {
    let mut stem = String::new();
    // Letters are normalized one by one: as a whole the wish may be longer than any name.
    for c in wished.chars().take(4 * USERNAME_CHARS_MAX) {
        match Username::parse(c.encode_utf8(&mut [0; 4])) {
            Ok(letter) => stem.push_str(letter.as_str()),
            Err(_) if !stem.is_empty() && !stem.ends_with('-') => stem.push('-'),
            Err(_) => {}
        }
    }
    let short: String = stem.chars().take(USERNAME_CHARS_MAX - TAIL_CHARS - 1).collect();
    let short = short.trim_matches(['-', '.', '_']);
    if short.is_empty() { NOBODY.to_owned() } else { short.to_owned() }
}

fn with_tail(stem: &str) -> Username {
    let tail: String =
        (0..TAIL_CHARS).map(|_| char::from(TAIL_LETTERS[rand::random_range(0..TAIL_LETTERS.len())])).collect();
    let name = format!("{stem}-{tail}");
    // Letters that combine may be longer or shorter together; then the wish is given up rather than the bound.
    Username::parse(&name).unwrap_or_else(|_| Username::from_stored(format!("{NOBODY}-{tail}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first_two(wished: &str) -> (String, String) {
        let mut names = candidates(wished).map(|name| name.as_str().to_owned());
        (names.next().unwrap(), names.next().unwrap())
    }

    #[test]
    fn a_name_that_may_be_had_comes_first() {
        let (first, second) = first_two(" Bob.Builder ");
        assert_eq!(first, "Bob.Builder");
        assert!(second.starts_with("Bob.Builder-") && second.len() == "Bob.Builder-".len() + 4, "{second}");
        assert_ne!(second, first_two("Bob.Builder").1);
    }

    #[test]
    fn reserved_and_impossible_names_get_a_tail_at_once() {
        for (wished, start) in [
            ("admin", "admin-"),
            ("Alice Liddell", "Alice-Liddell-"),
            ("auth0|5f7c8ec7", "auth0-5f7c8ec7-"),
            ("bob@example.org", "bob-example.org-"),
            ("", "user-"),
            ("!?\0", "user-"),
            ("Жанна д'Арк", "Жанна-д-Арк-"),
        ] {
            let (first, _) = first_two(wished);
            assert!(first.starts_with(start), "{wished:?} became {first:?}");
            assert_eq!(first.chars().count(), start.chars().count() + 4, "{first:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_wished_becomes_a_name(wished in "\\PC{0,60}|.{0,200}") {
            for name in candidates(&wished).take(3) {
                prop_assert_eq!(Username::parse(name.as_str()).unwrap(), name.clone());
                prop_assert!(!name.is_reserved());
            }
        }
    }
}
