//! Takes credentials out of what is shown.

/// What stands in the place of a secret.
const MASK: &str = "********";

/// The text with every credential inside a URL masked:
/// `postgres://ann:********@db/clos`, `https://host/?token=********`.
pub fn redact(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        shown.push_str(before);
        let is_end = |letter: char| letter.is_whitespace() || matches!(letter, '"' | '\'' | '`' | '<' | '>');
        let (url, behind) = after.split_at(after.find(is_end).unwrap_or(after.len()));
        shown.push_str(&redact_url(url));
        rest = behind;
    }
    shown.push_str(rest);
    shown
}

/// A URL without its scheme.
fn redact_url(url: &str) -> String {
    let authority_end = url.find(['/', '?', '#']).unwrap_or(url.len());
    // A password may hold a slash that nobody escaped: the last `@` before the query ends it.
    let query_start = url.find('?').unwrap_or(url.len());
    let at = url[..authority_end].rfind('@').or_else(|| {
        let before_query = &url[..query_start];
        before_query.find(':').and_then(|colon| before_query.rfind('@').filter(|at| colon < *at))
    });
    let (credentials, rest) = match at {
        Some(at) => (Some(&url[..at]), &url[at..]),
        None => (None, url),
    };
    let credentials = credentials.map_or(String::new(), |credentials| match credentials.split_once(':') {
        Some((user, _)) => format!("{user}:{MASK}"),
        // A user without a password is often a token.
        None => MASK.to_owned(),
    });
    let rest = match rest.split_once('?') {
        Some((path, query)) => format!("{path}?{}", redact_query(query)),
        None => rest.to_owned(),
    };
    credentials + &rest
}

fn redact_query(query: &str) -> String {
    let shown: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((key, _)) if is_secret(key) => format!("{key}={MASK}"),
            _ => pair.to_owned(),
        })
        .collect();
    shown.join("&")
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["password", "passwd", "secret", "token", "key", "auth", "signature"]
        .iter()
        .any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_masked_and_the_rest_is_kept() {
        for (text, shown) in [
            (
                "postgres://ann:s3cret@db:5432/clos?sslmode=require",
                "postgres://ann:********@db:5432/clos?sslmode=require",
            ),
            ("sqlite:///home/ann/.clos/clos.db", "sqlite:///home/ann/.clos/clos.db"),
            ("https://ghp_abc@github.com/x", "https://********@github.com/x"),
            (
                "http://collector:4317/v1?api_key=abc&level=2",
                "http://collector:4317/v1?api_key=********&level=2",
            ),
            ("postgres://ann:with/slash@db/clos", "postgres://ann:********@db/clos"),
            ("postgres://ann:with@sign@db/clos", "postgres://ann:********@db/clos"),
            ("no url at all", "no url at all"),
            ("", ""),
        ] {
            assert_eq!(redact(text), shown);
        }
    }

    #[test]
    fn every_url_of_a_sentence_is_masked() {
        let text = "cannot reach `redis://:pw@cache:6379` after 'postgres://ann:pw@db/x' failed";
        assert_eq!(
            redact(text),
            "cannot reach `redis://:********@cache:6379` after 'postgres://ann:********@db/x' failed"
        );
    }
}
