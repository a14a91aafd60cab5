//! What somebody searches for: words, "phrases", `-words` that must not be there, and `or`; the same for both stores.

use crate::error::{Error, Result};

pub const SEARCH_CHARS_MAX: usize = 200;
/// Words and phrases of one search; further ones are not looked at.
const TERMS_MAX: usize = 32;

/// A search that asks for at least one word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Alternatives, each of terms that all must be there, or must not.
    clauses: Vec<Vec<Term>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    /// As typed, without quotation marks.
    text: String,
    wanted: bool,
}

impl Query {
    /// `None`: nothing that could be found by is asked for, as in "!?" or in "-all".
    pub fn parse(text: &str) -> Result<Option<Self>> {
        let chars = text.chars().count();
        if text.trim().is_empty() || chars > SEARCH_CHARS_MAX {
            return Err(Error::invalid("q", format!("must have 1 to {SEARCH_CHARS_MAX} characters, not all blank")));
        }
        if text.contains('\0') {
            return Err(Error::invalid("q", "must not hold U+0000"));
        }
        let mut clauses = vec![Vec::new()];
        for (word, quoted) in words(text).take(TERMS_MAX) {
            if !quoted && word.eq_ignore_ascii_case("or") {
                clauses.push(Vec::new());
                continue;
            }
            let (text, wanted) = match word.strip_prefix('-') {
                Some(rest) => (rest, false),
                None => (word.as_str(), true),
            };
            if text.chars().any(char::is_alphanumeric)
                && let Some(clause) = clauses.last_mut()
            {
                clause.push(Term { text: text.to_owned(), wanted });
            }
        }
        clauses.retain(|clause| clause.iter().any(|term| term.wanted));
        Ok((!clauses.is_empty()).then_some(Self { clauses }))
    }

    /// For Postgres' `websearch_to_tsquery`, which takes whatever people type; in lower case, as the words are taken.
    pub fn for_postgres(&self) -> String {
        let written = |term: &Term| format!("{}\"{}\"", if term.wanted { "" } else { "-" }, term.text.to_lowercase());
        let clause = |clause: &Vec<Term>| clause.iter().map(written).collect::<Vec<_>>().join(" ");
        self.clauses.iter().map(clause).collect::<Vec<_>>().join(" or ")
    }

    /// For FTS5's `MATCH`, each term in quotation marks, so that nothing in it is an operator.
    pub fn for_fts5(&self) -> String {
        let clause = |clause: &Vec<Term>| {
            let of = |wanted: bool, between: &str| {
                let terms = clause.iter().filter(|term| term.wanted == wanted);
                terms.map(|term| format!("\"{}\"", term.text)).collect::<Vec<_>>().join(between)
            };
            let not = of(false, " OR ");
            let unwanted = if not.is_empty() { String::new() } else { format!(" NOT ({not})") };
            format!("(({}){unwanted})", of(true, " AND "))
        };
        self.clauses.iter().map(clause).collect::<Vec<_>>().join(" OR ")
    }

    /// The words to be found, one by one.
    pub fn words(&self) -> Vec<String> {
        let terms = self.clauses.iter().flatten().filter(|term| term.wanted);
        let mut words: Vec<String> = terms.flat_map(|term| plain_words(&term.text)).collect();
        words.sort_unstable();
        words.dedup();
        words
    }
}

/// Runs of letters and digits, in lower case.
pub fn plain_words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// What stands between blanks or quotation marks, and whether it was quoted; a `-` before a quotation mark belongs to
/// what it quotes.
fn words(text: &str) -> impl Iterator<Item = (String, bool)> {
    let mut words = Vec::new();
    for (place, part) in text.split('"').enumerate() {
        if place % 2 == 0 {
            words.extend(part.split_whitespace().map(|word| (word.to_owned(), false)));
        } else {
            let negated = words.pop_if(|(word, quoted): &mut (String, bool)| !*quoted && word == "-").is_some();
            let part = if negated { format!("-{part}") } else { part.trim_start_matches('-').to_owned() };
            words.push((part, true));
        }
    }
    words.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).unwrap().unwrap()
    }

    #[test]
    fn people_type_words_phrases_and_what_must_not_be_there() {
        let asked = query(r#"red "old house" -"blue car" -green or Castle"#);
        assert_eq!(asked.for_postgres(), r#""red" "old house" -"blue car" -"green" or "castle""#);
        assert_eq!(asked.for_fts5(), r#"(("red" AND "old house") NOT ("blue car" OR "green")) OR (("Castle"))"#);
        assert_eq!(asked.words(), ["castle", "house", "old", "red"]);
    }

    #[test]
    fn nothing_in_a_word_is_an_operator() {
        for text in ["a* OR", "NEAR(a b)", "col:x", "^a", "a AND (b", "a\\'b", "{a}", "\"a", "a\"", "a & !b | c"] {
            let asked = query(text);
            assert_eq!(asked.for_fts5().matches('"').count() % 2, 0, "{text}");
            assert!(!asked.words().is_empty(), "{text}");
        }
    }

    #[test]
    fn what_asks_for_nothing_is_told_apart_from_what_is_wrong() {
        for text in ["!?", "-all", "\"\"", "or", "- -", "- \" \""] {
            assert_eq!(Query::parse(text).unwrap(), None, "{text}");
        }
        for text in ["", "  ", "a\0b", &"x".repeat(SEARCH_CHARS_MAX + 1)] {
            assert_eq!(Query::parse(text).unwrap_err().code(), "invalid", "{text:?}");
        }
    }
}
