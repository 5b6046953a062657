//! Names before they go into a path. bollard does not escape them:
//! `../images/x` would reach another route.

use clos_domain::name::shown;
use clos_domain::seams::engine::Error;

const MAX: usize = 255;

/// A container's, network's or volume's name or id.
pub(crate) fn check<'a>(noun: &str, name: &'a str) -> Result<&'a str, Error> {
    let starts_well = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if starts_well && is_plain && name.len() <= MAX {
        return Ok(name);
    }
    Err(Error::Refused(format!(
        "`{}` is not a {noun} name: it must match [A-Za-z0-9][A-Za-z0-9_.-]{{0,254}}",
        shown(name)
    )))
}

/// The reference of an image: `postgres:17`, `ghcr.io/a/b@sha256:…`.
pub(crate) fn check_image(image: &str) -> Result<&str, Error> {
    let starts_well = image.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let is_plain = image
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'/' | b':' | b'@'));
    let stays_inside = image.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if starts_well && is_plain && stays_inside && image.len() <= MAX {
        return Ok(image);
    }
    Err(Error::Refused(format!(
        "`{}` is not an image reference: it must look like `postgres:17` or `registry:5000/team/app@sha256:…`",
        shown(image)
    )))
}

/// Whether the engine may take this name for the beginning of an id: `db`, `cafe`,
/// `feed` are names, and hex digits too. Then a missing name finds a stranger.
pub(crate) fn looks_like_id(name: &str) -> bool {
    name.len() < FULL_ID && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

const FULL_ID: usize = 64;

/// Splits a reference into the registry's host, the repository, and whether a tag
/// or digest is named. No host means Docker Hub.
pub(crate) fn registry_of(image: &str) -> Option<&str> {
    let (first, _) = image.split_once('/')?;
    (first.contains('.') || first.contains(':') || first == "localhost").then_some(first)
}

/// The reference with a tag: without one the engine would fetch every tag there is.
pub(crate) fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || image.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leaves_its_path_is_refused() {
        for bad in ["", "../images/x", "a/b", "a?force=1", "a%2fb", "-a", ".a", "ä", "a b", &"x".repeat(256)]
        {
            let error = check("container", bad).unwrap_err();
            assert!(error.to_string().contains("is not a container name"), "{bad}: {error}");
        }
        for good in ["shop-web-1", "shop__x-web.v2-1", &"a".repeat(64), "9"] {
            assert_eq!(check("container", good).unwrap(), good);
        }
    }

    #[test]
    fn an_image_reference_stays_on_its_route() {
        for bad in ["", "../x", "a/../b", "a//b", "/a", "a b", "a?x", "a#x", "a%2e"] {
            assert!(check_image(bad).is_err(), "{bad}");
        }
        for good in ["postgres:17", "localhost:5000/a/b:c", "ghcr.io/a/b@sha256:0123", "clos-test/app:latest"]
        {
            assert_eq!(check_image(good).unwrap(), good);
        }
    }

    #[test]
    fn names_of_hex_digits_are_known_as_possible_ids() {
        assert!(looks_like_id("db") && looks_like_id("cafe") && looks_like_id("0123456789ab"));
        assert!(!looks_like_id("web") && !looks_like_id("db-1") && !looks_like_id(&"a".repeat(64)));
    }

    #[test]
    fn the_registry_is_the_first_part_only_when_it_looks_like_a_host() {
        assert_eq!(registry_of("postgres:17"), None);
        assert_eq!(registry_of("team/app"), None);
        assert_eq!(registry_of("localhost/app"), Some("localhost"));
        assert_eq!(registry_of("r:5000/app"), Some("r:5000"));
        assert_eq!(registry_of("ghcr.io/a/b"), Some("ghcr.io"));
    }

    #[test]
    fn a_missing_tag_is_latest() {
        assert_eq!(with_tag("postgres"), "postgres:latest");
        assert_eq!(with_tag("r:5000/app"), "r:5000/app:latest");
        assert_eq!(with_tag("postgres:17"), "postgres:17");
        assert_eq!(with_tag("a@sha256:01"), "a@sha256:01");
    }
}
