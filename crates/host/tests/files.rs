//! Files under roots, on a real file system.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use clos_domain::seams::Files as _;
use clos_domain::seams::files::{Error, FileKind};
use clos_host::RootedFiles;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

/// A home with two projects, and a secret beside them.
struct World {
    _temp: TempDir,
    home: PathBuf,
    project: PathBuf,
    secret: PathBuf,
    files: RootedFiles,
}

impl World {
    fn new() -> Self {
        let temp = TempDir::new().unwrap();
        let top = fs::canonicalize(temp.path()).unwrap();
        let home = top.join("home/ann");
        let project = home.join("code/shop");
        fs::create_dir_all(project.join("api/src")).unwrap();
        fs::create_dir_all(home.join("code/shop-secrets")).unwrap();
        fs::write(project.join(".env"), "A=1\n").unwrap();
        let secret = home.join("code/shop-secrets/key");
        fs::write(&secret, "hidden").unwrap();
        let files = RootedFiles::new(&home);
        Self { _temp: temp, home, project, secret, files }
    }

    fn roots(&self) -> Vec<String> {
        vec![text(&self.project)]
    }

    async fn read(&self, path: impl AsRef<Path>) -> Result<String, Error> {
        self.files.read_text(&self.roots(), path.as_ref().to_str().unwrap(), 1_000).await
    }

    async fn resolve(&self, path: impl AsRef<Path>) -> Result<(String, FileKind), Error> {
        self.files.resolve(&self.roots(), path.as_ref().to_str().unwrap()).await
    }

    async fn root_of(&self, folder: impl AsRef<Path>) -> Option<String> {
        self.files.project_root(folder.as_ref().to_str().unwrap()).await
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn is_outside<T: std::fmt::Debug>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::OutsideRoot(_)))
}

fn why<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Unreadable { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_below_the_root_is_read_by_any_spelling_of_its_path() {
    let world = World::new();
    let project = text(&world.project);
    for path in [
        format!("{project}/.env"),
        format!("{project}/./api/../.env"),
        format!("/{project}//.env"),
        format!("{project}/../shop/.env"),
    ] {
        assert_eq!(world.read(&path).await.as_deref(), Ok("A=1\n"), "{path}");
    }
}

#[tokio::test]
async fn a_symlink_that_stays_inside_is_followed_relative_or_absolute() {
    let world = World::new();
    symlink("../.env", world.project.join("api/relative")).unwrap();
    symlink(world.project.join(".env"), world.project.join("api/absolute")).unwrap();
    assert_eq!(world.read(world.project.join("api/relative")).await.as_deref(), Ok("A=1\n"));
    assert_eq!(world.read(world.project.join("api/absolute")).await.as_deref(), Ok("A=1\n"));
    let resolved = world.resolve(world.project.join("api/relative")).await;
    assert_eq!(resolved, Ok((text(&world.project.join(".env")), FileKind::File)));
}

#[tokio::test]
async fn a_root_that_is_reached_by_a_symlink_is_the_same_root() {
    let world = World::new();
    let link = world.home.join("current");
    symlink(&world.project, &link).unwrap();
    let through_link = world.files.read_text(&[text(&link)], &text(&world.project.join(".env")), 100).await;
    assert_eq!(through_link.as_deref(), Ok("A=1\n"));
    assert_eq!(world.read(link.join(".env")).await.as_deref(), Ok("A=1\n"));
}

#[tokio::test]
async fn no_spelling_and_no_symlink_leads_out_of_the_root() {
    let world = World::new();
    symlink(&world.secret, world.project.join("file-link")).unwrap();
    symlink(world.secret.parent().unwrap(), world.project.join("folder-link")).unwrap();
    symlink("file-link", world.project.join("link-to-link")).unwrap();
    symlink("/proc/self/root/etc", world.project.join("magic")).unwrap();
    let project = text(&world.project);
    for path in [
        text(&world.secret),
        format!("{project}/file-link"),
        format!("{project}/folder-link/key"),
        format!("{project}/link-to-link"),
        format!("{project}/magic/passwd"),
        format!("{project}/../shop-secrets/key"),
        format!("{project}/../../../../../../../../../../etc/passwd"),
        "//etc/passwd".to_owned(),
        "/./etc/passwd".to_owned(),
        "/proc/self/root/etc/passwd".to_owned(),
        "/proc/self/cwd/../../../../../../../../etc/passwd".to_owned(),
        "/".to_owned(),
        "/dev/null".to_owned(),
        // A root's name is no prefix of its neighbour's.
        format!("{project}-secrets/key"),
        format!("{project}-secrets"),
    ] {
        let outcome = world.read(&path).await;
        assert!(is_outside(&outcome), "{path}: {outcome:?}");
        let outcome = world.resolve(&path).await;
        assert!(is_outside(&outcome), "{path}: {outcome:?}");
    }
}

#[tokio::test]
async fn what_is_absent_is_not_found_inside_and_outside_root_elsewhere() {
    let world = World::new();
    let absent = world.project.join("absent.yml");
    assert_eq!(world.read(&absent).await, Err(Error::NotFound(text(&absent))));
    let below_a_file = world.project.join(".env/more");
    assert_eq!(world.read(&below_a_file).await, Err(Error::NotFound(text(&below_a_file))));
    assert!(is_outside(&world.read("/no/such/file").await));
    // A symlink that leads to nothing outside is outside: whoever creates its target decides.
    symlink(world.home.join("later"), world.project.join("dangling")).unwrap();
    assert!(is_outside(&world.read(world.project.join("dangling")).await));
}

#[tokio::test]
async fn without_a_root_everything_is_outside() {
    let world = World::new();
    let path = text(&world.project.join(".env"));
    assert!(is_outside(&world.files.read_text(&[], &path, 100).await));
    assert!(is_outside(&world.files.read_text(&["/no/such/root".to_owned()], &path, 100).await));
}

#[tokio::test]
async fn a_file_at_the_limit_is_read_and_one_byte_more_is_refused() {
    let world = World::new();
    let path = world.project.join("large");
    fs::write(&path, "x".repeat(1_000)).unwrap();
    assert_eq!(world.read(&path).await.unwrap().len(), 1_000);
    fs::write(&path, "x".repeat(1_001)).unwrap();
    assert_eq!(world.read(&path).await, Err(Error::TooLarge { path: text(&path), limit: 1_000 }));
}

#[tokio::test]
async fn what_is_no_text_file_is_named_for_what_it_is() {
    let world = World::new();
    let binary = world.project.join("binary");
    fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(why(world.read(&binary).await), "it is not UTF-8 text");
    assert_eq!(why(world.read(&world.project).await), "it is a folder");
    assert_eq!(why(world.read("relative/file").await), "the path is not absolute");
    assert_eq!(why(world.read("/nul\0byte").await), "the path contains a NUL character");
    let circle = world.project.join("circle");
    symlink("circle", &circle).unwrap();
    assert_eq!(why(world.read(&circle).await), "symlinks run in a circle");
}

#[tokio::test]
async fn a_fifo_or_socket_is_refused_without_waiting_for_its_other_end() {
    let world = World::new();
    let fifo = world.project.join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let socket = world.project.join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [fifo, socket] {
        assert_eq!(why(world.read(&path).await), "it is a device, a fifo or a socket");
        assert_eq!(world.resolve(&path).await, Ok((text(&path), FileKind::Other)));
    }
}

#[tokio::test]
async fn a_file_that_may_not_be_read_says_so() {
    if rustix::process::geteuid().is_root() {
        // Nothing is forbidden to root.
        return;
    }
    let world = World::new();
    let path = world.project.join("closed");
    fs::write(&path, "").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    fs::set_permissions(&path, mode).unwrap();
    assert_eq!(why(world.read(&path).await), "permission denied");
}

#[tokio::test]
async fn folders_resolve_as_folders() {
    let world = World::new();
    let resolved = world.resolve(world.project.join("api/..")).await;
    assert_eq!(resolved, Ok((text(&world.project), FileKind::Folder)));
}

#[tokio::test]
async fn a_canonical_path_follows_links_that_lead_to_nothing_and_keeps_the_rest() {
    let world = World::new();
    symlink(world.home.join("later"), world.project.join("dangling")).unwrap();
    let canonical = async |path: PathBuf| world.files.canonical(path.to_str().unwrap()).await;
    assert_eq!(canonical(world.project.join("dangling/x/../y")).await, text(&world.home.join("later/y")));
    assert_eq!(canonical(world.project.join("new/./folder")).await, text(&world.project.join("new/folder")));
    assert_eq!(canonical(PathBuf::from("/../..")).await, "/");
    assert_eq!(canonical(PathBuf::from("relative")).await, "relative");
    symlink("circle", world.project.join("circle")).unwrap();
    let circle = world.project.join("circle");
    assert_eq!(canonical(circle.clone()).await, text(&circle));
}

#[tokio::test]
async fn the_project_root_is_the_nearest_repository_else_the_working_folder() {
    let world = World::new();
    let inner = world.project.join("api/src");
    assert_eq!(world.root_of(&inner).await, Some(text(&inner)));
    fs::create_dir(world.project.join(".git")).unwrap();
    assert_eq!(world.root_of(&inner).await, Some(text(&world.project)));
    // A worktree has a file of that name.
    fs::write(world.project.join("api/.git"), "gitdir: elsewhere\n").unwrap();
    assert_eq!(world.root_of(&inner).await, Some(text(&world.project.join("api"))));
}

#[tokio::test]
async fn home_and_what_holds_it_is_never_a_root() {
    let world = World::new();
    fs::create_dir(world.home.join(".git")).unwrap();
    let inner = world.project.join("api");
    assert_eq!(
        world.root_of(&inner).await,
        Some(text(&inner)),
        "a repository in the home folder is passed over"
    );
    assert_eq!(world.root_of(&world.home).await, None);
    assert_eq!(world.root_of(world.home.parent().unwrap()).await, None);
    assert_eq!(world.root_of("/").await, None);
    let link = world.project.join("to-home");
    symlink(&world.home, &link).unwrap();
    assert_eq!(world.root_of(&link).await, None, "home by another name");
    assert_eq!(world.root_of("/no/such/folder").await, None);
    assert_eq!(world.root_of(world.project.join(".env")).await, None, "a file is no folder");
}
