//! Asks for a password: twice and unseen on a terminal, else the first line of standard input.

use std::io::{BufRead, IsTerminal};

/// Far more than any password that is taken.
const LINE_BYTES_MAX: u64 = 8_192;

/// The error is a sentence for the operator.
pub fn password() -> Result<String, String> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return first_line(input.lock());
    }
    let ask = |what: &str| rpassword::prompt_password(what).map_err(|error| format!("no password was read ({error})"));
    let password = ask("Password: ")?;
    if ask("Once more: ")? != password {
        return Err("the two passwords differ".to_owned());
    }
    Ok(password)
}

fn first_line(input: impl BufRead) -> Result<String, String> {
    let mut line = String::new();
    let read =
        input.take(LINE_BYTES_MAX).read_line(&mut line).map_err(|error| format!("no password was read ({error})"))?;
    if read == 0 {
        return Err("no password was given on standard input".to_owned());
    }
    let end = line.trim_end_matches('\n');
    Ok(end.strip_suffix('\r').unwrap_or(end).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_break_is_no_part_of_a_password_and_spaces_are() {
        assert_eq!(first_line(&b"correct horse \nmore"[..]).unwrap(), "correct horse ");
        assert_eq!(first_line(&b"correct horse\r\n"[..]).unwrap(), "correct horse");
        assert_eq!(first_line(&b"correct horse"[..]).unwrap(), "correct horse");
        assert!(first_line(&b""[..]).is_err());
        assert!(first_line(&b"\xff\xfe\n"[..]).is_err());
    }
}
