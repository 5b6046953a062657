//! Files that a test wrote down; the project root is the folder with `.git` above, else the working folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use clos_domain::seams::Files;
use clos_domain::seams::files::{Error, FileKind};

/// A tree of texts. Every folder on the way to a file exists, and so does the working folder.
#[derive(Debug, Default)]
pub struct FakeFiles {
    texts: Mutex<BTreeMap<String, String>>,
}

impl FakeFiles {
    /// A tree without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on there is such a file.
    pub fn write(&self, path: &str, text: &str) {
        self.texts().insert(path.to_owned(), text.to_owned());
    }

    fn texts(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_under(roots: &[String], path: &str) -> Result<(), Error> {
    let inside =
        |root: &String| path == root || path.starts_with(&format!("{}/", root.trim_end_matches('/')));
    if roots.iter().any(inside) { Ok(()) } else { Err(Error::OutsideRoot(path.to_owned())) }
}

#[async_trait]
impl Files for FakeFiles {
    async fn project_root(&self, working_dir: &str) -> Option<String> {
        let mut folders = Path::new(working_dir).ancestors().filter_map(Path::to_str);
        let is_repository = |folder: &&str| {
            let below = format!("{}/.git", folder.trim_end_matches('/'));
            self.texts().contains_key(&below)
        };
        let root = folders.find(is_repository).unwrap_or(working_dir);
        (root != "/").then(|| root.to_owned())
    }

    async fn read_text(&self, roots: &[String], path: &str, limit: u64) -> Result<String, Error> {
        is_under(roots, path)?;
        let text = self.texts().get(path).cloned().ok_or_else(|| Error::NotFound(path.to_owned()))?;
        if text.len() as u64 > limit {
            return Err(Error::TooLarge { path: path.to_owned(), limit });
        }
        Ok(text)
    }

    async fn resolve(&self, roots: &[String], path: &str) -> Result<(String, FileKind), Error> {
        is_under(roots, path)?;
        let texts = self.texts();
        if texts.contains_key(path) {
            return Ok((path.to_owned(), FileKind::File));
        }
        let below = format!("{}/", path.trim_end_matches('/'));
        if roots.iter().any(|root| root == path) || texts.keys().any(|file| file.starts_with(&below)) {
            return Ok((path.to_owned(), FileKind::Folder));
        }
        Err(Error::NotFound(path.to_owned()))
    }

    async fn canonical(&self, path: &str) -> String {
        path.to_owned()
    }

    async fn exists(&self, path: &str) -> bool {
        self.resolve(&["/".to_owned()], path).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_under_its_root_and_nowhere_else() {
        let files = FakeFiles::new();
        files.write("/home/ann/shop/web/Dockerfile", "FROM scratch");
        let roots = ["/home/ann/shop".to_owned()];
        let read = files.read_text(&roots, "/home/ann/shop/web/Dockerfile", 100).await;
        assert_eq!(read.unwrap(), "FROM scratch");
        let outside = files.read_text(&["/srv".to_owned()], "/home/ann/shop/web/Dockerfile", 100).await;
        assert!(matches!(outside, Err(Error::OutsideRoot(_))));
        assert!(matches!(files.resolve(&roots, "/home/ann/shop/web").await, Ok((_, FileKind::Folder))));
        assert!(matches!(files.resolve(&roots, "/home/ann/shop/api").await, Err(Error::NotFound(_))));
        let large = files.read_text(&roots, "/home/ann/shop/web/Dockerfile", 3).await;
        assert!(matches!(large, Err(Error::TooLarge { limit: 3, .. })));
    }
}
