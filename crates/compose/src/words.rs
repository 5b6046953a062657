//! A command line in one string, split into words as compose splits it. No shell: quotes and backslashes are
//! read, and the line ends where a shell would begin another command.

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the command line cannot be split: {0}; write it as a list")]
pub(crate) struct Problem(&'static str);

pub(crate) fn split(line: &str) -> Result<Vec<String>, Problem> {
    let mut words = Vec::new();
    let mut word = String::new();
    // Something was written, even if it is empty quotes.
    let mut started = false;
    let mut escaped = false;
    let mut quote: Option<char> = None;
    // Within `$(…)` or backticks everything is kept as it is.
    let mut kept: Option<char> = None;

    for c in line.chars() {
        if escaped {
            escaped = false;
            if kept.is_some() {
                word.push('\\');
                word.push(c);
            } else {
                word.push(match c {
                    't' => '\t',
                    'n' => '\n',
                    c => c,
                });
            }
            started = true;
            continue;
        }
        if c == '\\' {
            if quote == Some('\'') {
                word.push(c);
            } else {
                escaped = true;
            }
            continue;
        }
        if matches!(c, ' ' | '\t' | '\r' | '\n') {
            if quote.is_some() || kept.is_some() {
                word.push(c);
            } else if started {
                words.push(std::mem::take(&mut word));
                started = false;
            }
            continue;
        }
        match c {
            '`' if quote.is_none() && kept != Some(')') => {
                kept = if kept.is_some() { None } else { Some('`') };
            }
            ')' if quote.is_none() && kept != Some('`') => {
                if kept.is_none() {
                    return Err(Problem("a parenthesis closes that was not opened"));
                }
                kept = None;
            }
            '(' if quote.is_none() && kept != Some('`') => {
                let substitution = kept.is_none() && word.ends_with('$') && !word.ends_with("\\$");
                if !substitution {
                    return Err(Problem("a parenthesis stands outside quotes"));
                }
                kept = Some(')');
            }
            '"' | '\'' if kept.is_none() && quote.is_none_or(|open| open == c) => {
                quote = if quote.is_some() { None } else { Some(c) };
                started = true;
                continue;
            }
            ';' | '&' | '|' | '<' | '>' if quote.is_none() && kept.is_none() => {
                // `2>` redirects: the digits are no word.
                if c == '>' && started && !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
                    started = false;
                }
                if started {
                    words.push(word);
                }
                return Ok(words);
            }
            _ => {}
        }
        started = true;
        word.push(c);
    }
    if started {
        words.push(word);
    }
    if escaped {
        return Err(Problem("it ends on a backslash"));
    }
    if quote.is_some() {
        return Err(Problem("a quote is not closed"));
    }
    if kept.is_some() {
        return Err(Problem("a substitution is not closed"));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would_without_running_one() {
        for (line, expected) in [
            ("nginx -g 'daemon off;'", vec!["nginx", "-g", "daemon off;"]),
            ("  a\t b\n", vec!["a", "b"]),
            ("a \"b c\"d '' e\\ f", vec!["a", "b cd", "", "e f"]),
            ("sh -c \"echo \\\"x\\\"\"", vec!["sh", "-c", "echo \"x\""]),
            ("'a\\b' a\\tb", vec!["a\\b", "a\tb"]),
            ("run $(date +%s) `x y`", vec!["run", "$(date +%s)", "`x y`"]),
            ("first && second", vec!["first"]),
            ("echo x > file", vec!["echo", "x"]),
            ("run 2>&1", vec!["run"]),
            ("", vec![]),
            ("--a=\"it's\"", vec!["--a=it's"]),
        ] {
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn what_stays_open_is_an_error() {
        for line in ["'a", "\"a", "a\\", "a (b)", "b)", "$(a", "`a"] {
            assert!(split(line).is_err(), "{line}");
        }
    }
}
