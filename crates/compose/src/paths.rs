//! Paths as words: joined and cleaned without a look at any disk.

/// `a/./b/../c` → `a/c`; what is empty becomes `.`.
pub(crate) fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&"..") | None if !absolute => parts.push(".."),
                Some(_) => {
                    parts.pop();
                }
                None => {}
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// `path` as seen from `base`, unless it stands for itself.
pub(crate) fn join(base: &str, path: &str) -> String {
    if path.starts_with('/') { clean(path) } else { clean(&format!("{base}/{path}")) }
}

pub(crate) fn folder_of(path: &str) -> String {
    match path.rfind('/') {
        Some(0) => "/".to_owned(),
        Some(at) => clean(&path[..at]),
        None => ".".to_owned(),
    }
}

pub(crate) fn name_of(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// As people know it: relative to `base` where it lies under it.
pub(crate) fn shown(base: &str, path: &str) -> String {
    let inside = path
        .strip_prefix(base)
        .and_then(|rest| if base.ends_with('/') { Some(rest) } else { rest.strip_prefix('/') });
    inside.filter(|rest| !rest.is_empty()).unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_cleaned() {
        for (base, path, expected) in [
            ("/a/b", "c", "/a/b/c"),
            ("/a/b", "./c/", "/a/b/c"),
            ("/a/b", "../c", "/a/c"),
            ("/a/b", "../../../c", "/c"),
            ("/a/b", "/c/../d", "/d"),
            ("/a/b", ".", "/a/b"),
            ("/", "x", "/x"),
        ] {
            assert_eq!(join(base, path), expected, "{base} {path}");
        }
        assert_eq!(clean("../x/.."), "..");
        assert_eq!(clean(""), ".");
        assert_eq!(clean("a//b"), "a/b");
    }

    #[test]
    fn folders_and_names() {
        assert_eq!(folder_of("/a/b.yaml"), "/a");
        assert_eq!(folder_of("/b.yaml"), "/");
        assert_eq!(name_of("/a/shop/"), "shop");
        assert_eq!(shown("/a", "/a/b/c.yaml"), "b/c.yaml");
        assert_eq!(shown("/a", "/ab/c.yaml"), "/ab/c.yaml");
        assert_eq!(shown("/", "/c.yaml"), "c.yaml");
    }
}
