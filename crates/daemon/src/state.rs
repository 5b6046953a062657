//! The state folder: who runs here, the secret, and where to find us.
//!
//! ```text
//! closd.yaml  clos.db  token  log/  run/lock  run/closd.sock  run/endpoint.json
//! ```
//!
//! Everything in it is for its owner only. [`Home::prepare`] makes the folder,
//! [`Home::lock`] is the right to change anything in it, and whoever has the
//! [`Lock`] may read the token, take the socket and tell the endpoint.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use clos_domain::Timestamp;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Bytes of a socket's path, without the zero that ends it.
const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "macos") { 103 } else { 107 };
/// A token that is shorter was not made by us, or was cut off.
const TOKEN_MIN: usize = 32;
/// No secret of ours is longer.
const TOKEN_LIMIT: u64 = 1_024;

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody has the lock.
    #[error("{}", held(*.pid, .lock))]
    Running {
        /// The holder's pid, if it wrote it down.
        pid: Option<u32>,
        /// The lock.
        lock: PathBuf,
    },
    /// It is not what it should be, and the way out.
    #[error("{path}: {why}")]
    Unusable {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The system said no.
    #[error("{path}: cannot {action}")]
    Io {
        /// Which.
        path: String,
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn held(pid: Option<u32>, lock: &Path) -> String {
    let who = pid.map_or("another closd".to_owned(), |pid| format!("another closd (pid {pid})"));
    format!(
        "{who} runs on this state folder and holds {}; stop it first or use another --home",
        lock.display()
    )
}

/// The state folder.
#[derive(Debug, Clone)]
pub struct Home {
    path: PathBuf,
    uid: u32,
}

impl Home {
    /// Makes the folder and those in it, and closes them to everybody else.
    ///
    /// # Errors
    /// A folder that cannot be made, is none, or belongs to somebody else.
    pub fn prepare(path: &Path) -> Result<Self, Error> {
        let path = std::path::absolute(path).map_err(|source| failed(path, "find the folder", source))?;
        let home = Self { path, uid: clos_host::user_id() };
        for folder in [home.path.clone(), home.path.join("run"), home.path.join("log")] {
            private_folder(&folder, home.uid)?;
        }
        Ok(home)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database of SQLite.
    pub fn database(&self) -> PathBuf {
        self.path.join("clos.db")
    }

    /// Where clients look first.
    pub fn endpoint_file(&self) -> PathBuf {
        self.path.join("run/endpoint.json")
    }

    /// The right to be the one closd of this folder, until it is dropped.
    ///
    /// # Errors
    /// [`Error::Running`] when another process has it.
    pub fn lock(&self) -> Result<Lock, Error> {
        let path = self.path.join("run/lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|source| failed(&path, "open the lock", source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Running { pid: pid_in(&mut file), lock: path });
            }
            Err(TryLockError::Error(source)) => return Err(failed(&path, "lock", source)),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(|source| failed(&path, "write the pid", source))?;
        Ok(Lock { _file: file, home: self.clone() })
    }

    /// The socket's place: as configured, else `run/closd.sock`, else, where that
    /// name is too long for a socket, a folder that is ours and short.
    ///
    /// # Errors
    /// A configured place that is too long, or a short folder that is not ours alone.
    pub fn socket_path(
        &self,
        configured: Option<&Path>,
        runtime_dir: Option<&Path>,
        temp_dir: &Path,
    ) -> Result<PathBuf, Error> {
        let fits = |path: &Path| path.as_os_str().len() <= SOCKET_PATH_LIMIT;
        if let Some(path) = configured {
            let why = || {
                format!("the path of a socket has at most {SOCKET_PATH_LIMIT} bytes; choose a shorter one")
            };
            return if fits(path) { Ok(path.to_owned()) } else { Err(unusable(path, why())) };
        }
        let usual = self.path.join("run/closd.sock");
        if fits(&usual) {
            return Ok(usual);
        }
        // Two state folders of one user share the short folder, so the name says which.
        let digest = Sha256::digest(self.path.as_os_str().as_encoded_bytes());
        let name = format!("clos-{}.sock", HEXLOWER.encode(&digest[..8]));
        if let Some(path) = runtime_dir.map(|folder| folder.join(&name)).filter(|path| fits(path))
            && path.parent().is_some_and(Path::is_dir)
        {
            return Ok(path);
        }
        let folder = temp_dir.join(format!("clos-{}", self.uid));
        let path = folder.join(name);
        if !fits(&path) {
            return Err(unusable(&path, "no folder is short enough for a socket; use --socket".to_owned()));
        }
        owned_folder(&folder, self.uid)?;
        Ok(path)
    }
}

/// The right to change what is in the state folder.
#[derive(Debug)]
pub struct Lock {
    /// The kernel takes the lock away when this is closed, however the process ends.
    _file: File,
    home: Home,
}

impl Lock {
    /// The secret that TCP callers show; made when there is none.
    ///
    /// # Errors
    /// A file that is not ours or holds no token.
    pub fn token(&self) -> Result<Token, Error> {
        let path = self.home.path.join("token");
        match fs::symlink_metadata(&path) {
            Ok(metadata) => read_token(&path, &metadata, self.home.uid),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let token = clos_host::random_token();
                write_whole(&path, format!("{token}\n").as_bytes())?;
                Ok(Token(token))
            }
            Err(source) => Err(failed(&path, "read the token", source)),
        }
    }

    /// Listens on the socket. What an ended process left there is removed; what
    /// somebody answers on, and what is no socket, is not.
    ///
    /// # Errors
    /// A place that is taken or cannot be used.
    pub fn bind(&self, path: &Path) -> Result<Socket, Error> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(unusable(
                    path,
                    "it is there and is no socket; move it away or use --socket".to_owned(),
                ));
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(unusable(
                    path,
                    "another process answers on this socket; stop it or use --socket".to_owned(),
                ));
            }
            Ok(_) => fs::remove_file(path).map_err(|source| failed(path, "remove the old socket", source))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(path, "look at the socket", source)),
        }
        let listener =
            UnixListener::bind(path).map_err(|source| failed(path, "listen on the socket", source))?;
        fs::set_permissions(path, Permissions::from_mode(0o600))
            .and_then(|()| listener.set_nonblocking(true))
            .map_err(|source| failed(path, "close the socket to others", source))?;
        let inode = fs::symlink_metadata(path).map(|metadata| metadata.ino()).unwrap_or_default();
        Ok(Socket { listener: Some(listener), path: path.to_owned(), inode })
    }

    /// Tells clients where we are, until the returned value is dropped.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn announce(&self, endpoint: &Endpoint) -> Result<Announced, Error> {
        let announced = Announced { path: self.home.endpoint_file(), withdrawn: true.into() };
        announced.again(endpoint)?;
        announced.withdrawn.store(false, std::sync::atomic::Ordering::Relaxed);
        Ok(announced)
    }
}

/// The secret of TCP callers. It does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The secret itself, for whoever compares it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(********)")
    }
}

/// Our socket; its file goes with it.
#[derive(Debug)]
pub struct Socket {
    listener: Option<UnixListener>,
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The listener, once.
    pub fn take(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Somebody else's socket of the same name is not ours to remove.
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What `run/endpoint.json` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The Unix socket.
    pub socket: PathBuf,
    /// The TCP address, if there is one: `127.0.0.1:8080`.
    pub tcp: Option<std::net::SocketAddr>,
    /// The process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it began to serve.
    pub started_at: Timestamp,
}

/// The endpoint is told for as long as this lives.
#[derive(Debug)]
pub struct Announced {
    path: PathBuf,
    withdrawn: std::sync::atomic::AtomicBool,
}

impl Announced {
    /// Tells another endpoint from now on.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn again(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(endpoint).expect("an endpoint is made of words and numbers");
        write_whole(&self.path, format!("{text}\n").as_bytes())
    }
}

impl Announced {
    /// Nobody is told any more, and nobody new comes.
    pub fn withdraw(&self) {
        // Once only: the next closd of this folder may have told its own by then.
        if !self.withdrawn.swap(true, std::sync::atomic::Ordering::Relaxed) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.withdraw();
    }
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn read_token(path: &Path, metadata: &fs::Metadata, uid: u32) -> Result<Token, Error> {
    if !metadata.is_file() || metadata.uid() != uid {
        return Err(unusable(path, format!("it is not a file of uid {uid}; move it away and start again")));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o600))
            .map_err(|source| failed(path, "close the token to others", source))?;
    }
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(TOKEN_LIMIT).read_to_string(&mut text))
        .map_err(|source| failed(path, "read the token", source))?;
    let token = text.trim();
    let is_token = TOKEN_MIN <= token.len() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token {
        let why =
            format!("it holds no token of at least {TOKEN_MIN} characters; remove it and a new one is made");
        return Err(unusable(path, why));
    }
    Ok(Token(token.to_owned()))
}

/// Makes the folder with its parents; one that is open to others is closed.
fn private_folder(path: &Path, uid: u32) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|source| failed(parent, "make the folder", source))?;
    }
    make_folder(path)?;
    let metadata = fs::metadata(path).map_err(|source| failed(path, "look at the folder", source))?;
    if !metadata.is_dir() {
        return Err(unusable(path, "it is not a folder; move it away or use another --home".to_owned()));
    }
    if metadata.uid() != uid {
        let why =
            format!("it belongs to uid {} and closd runs as uid {uid}; use another --home", metadata.uid());
        return Err(unusable(path, why));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o700))
            .map_err(|source| failed(path, "close the folder to others", source))?;
    }
    Ok(())
}

/// A folder where everybody may make folders: one that is there has to be ours and closed already.
fn owned_folder(path: &Path, uid: u32) -> Result<(), Error> {
    make_folder(path)?;
    let metadata = fs::symlink_metadata(path).map_err(|source| failed(path, "look at the folder", source))?;
    if metadata.is_dir() && metadata.uid() == uid && metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(unusable(path, format!("it is not a folder of uid {uid} alone; use --socket")))
}

fn make_folder(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(failed(path, "make the folder", error))
        }
        _ => Ok(()),
    }
}

/// Writes beside and renames, so that a reader sees all of it or nothing.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let beside = path.with_extension("new");
    let write = || {
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| failed(path, "write", source))
}

fn unusable(path: &Path, why: String) -> Error {
    Error::Unusable { path: path.display().to_string(), why }
}

fn failed(path: &Path, action: &'static str, source: io::Error) -> Error {
    Error::Io { path: path.display().to_string(), action, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn home() -> (TempDir, Home) {
        let temp = TempDir::new().unwrap();
        let home = Home::prepare(&temp.path().join(".clos")).unwrap();
        (temp, home)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn the_folder_is_made_with_its_parents_and_is_for_its_owner_only() {
        let temp = TempDir::new().unwrap();
        let home = Home::prepare(&temp.path().join("a/b/.clos")).unwrap();
        for folder in ["", "run", "log"] {
            assert_eq!(mode(&home.path().join(folder)), 0o700, "{folder}");
        }
        assert_eq!(home.database(), home.path().join("clos.db"));
    }

    #[test]
    fn an_open_folder_of_version_1_is_closed_and_keeps_what_is_in_it() {
        let temp = TempDir::new().unwrap();
        let path = temp.path().join(".clos");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        fs::write(path.join("registry.db"), "v1").unwrap();
        Home::prepare(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(fs::read_to_string(path.join("registry.db")).unwrap(), "v1");
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_named() {
        let temp = TempDir::new().unwrap();
        let path = temp.path().join(".clos");
        fs::write(&path, "").unwrap();
        let error = Home::prepare(&path).unwrap_err().to_string();
        assert!(error.contains("it is not a folder") && error.contains("--home"), "{error}");
        let error = Home::prepare(&path.join("below")).unwrap_err().to_string();
        assert!(error.contains("cannot make the folder"), "{error}");
    }

    #[test]
    fn there_is_one_lock_and_the_second_is_told_the_pid_of_the_first() {
        let (_temp, home) = home();
        let lock = home.lock().unwrap();
        let error = home.lock().unwrap_err();
        let Error::Running { pid, .. } = &error else { panic!("{error}") };
        assert_eq!(*pid, Some(std::process::id()));
        assert!(
            error.to_string().contains(&format!("another closd (pid {})", std::process::id())),
            "{error}"
        );
        drop(lock);
        let again = home.lock();
        assert!(again.is_ok(), "the file stays, the lock does not");
    }

    #[test]
    fn a_lock_without_a_pid_still_names_its_file() {
        let error = Error::Running { pid: None, lock: "/x/run/lock".into() };
        assert_eq!(
            error.to_string(),
            "another closd runs on this state folder and holds /x/run/lock; stop it first or use another --home"
        );
    }

    #[test]
    fn the_token_is_made_once_and_kept() {
        let (_temp, home) = home();
        let lock = home.lock().unwrap();
        let token = lock.token().unwrap();
        let file = home.path().join("token");
        assert_eq!(mode(&file), 0o600);
        assert_eq!(token.expose().len(), 43);
        assert_eq!(fs::read_to_string(&file).unwrap().trim(), token.expose());
        assert_eq!(lock.token().unwrap(), token);
        assert_eq!(format!("{token:?}"), "Token(********)");
    }

    #[test]
    fn an_open_token_is_closed_and_a_broken_one_is_refused() {
        let (_temp, home) = home();
        let lock = home.lock().unwrap();
        let token = lock.token().unwrap();
        let file = home.path().join("token");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(lock.token().unwrap(), token);
        assert_eq!(mode(&file), 0o600);
        for broken in ["", "short", "with space with space with space with space"] {
            fs::write(&file, broken).unwrap();
            let error = lock.token().unwrap_err().to_string();
            assert!(error.contains("remove it and a new one is made"), "{broken}: {error}");
        }
        fs::remove_file(&file).unwrap();
        symlink("/etc/hostname", &file).unwrap();
        let error = lock.token().unwrap_err().to_string();
        assert!(error.contains("it is not a file of uid"), "{error}");
    }

    #[test]
    fn the_socket_is_for_its_owner_and_goes_with_its_listener() {
        let (_temp, home) = home();
        let lock = home.lock().unwrap();
        let path = home.socket_path(None, None, Path::new("/tmp")).unwrap();
        assert_eq!(path, home.path().join("run/closd.sock"));
        let mut socket = lock.bind(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(socket.path(), path);
        assert!(UnixStream::connect(&path).is_ok());
        assert!(socket.take().is_some() && socket.take().is_none());
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_or_a_file_is_not() {
        let (_temp, home) = home();
        let lock = home.lock().unwrap();
        let path = home.path().join("run/closd.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "what an ended process leaves");
        let socket = lock.bind(&path).unwrap();

        let error = lock.bind(&path).unwrap_err().to_string();
        assert!(error.contains("another process answers"), "{error}");
        // Another process took the name: its socket outlives ours.
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
        drop(other);

        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        let error = lock.bind(&path).unwrap_err().to_string();
        assert!(error.contains("it is there and is no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let error = lock.bind(Path::new("/no/such/folder/s")).unwrap_err().to_string();
        assert_eq!(error, "/no/such/folder/s: cannot listen on the socket");
    }

    #[test]
    fn a_socket_path_that_is_too_long_moves_to_a_short_folder_of_ours() {
        let temp = TempDir::new().unwrap();
        let long = temp.path().join("x".repeat(100));
        let home = Home::prepare(&long).unwrap();
        let runtime = temp.path().join("runtime");
        fs::create_dir(&runtime).unwrap();
        let short = temp.path().join("tmp");
        fs::create_dir(&short).unwrap();

        let path = home.socket_path(None, Some(&runtime), &short).unwrap();
        assert_eq!(path.parent(), Some(runtime.as_path()));
        assert_eq!(home.socket_path(None, Some(&runtime), &short).unwrap(), path, "the same each time");
        let other = Home::prepare(&temp.path().join("y".repeat(100))).unwrap();
        assert_ne!(other.socket_path(None, Some(&runtime), &short).unwrap(), path);

        let fallback = home.socket_path(None, Some(Path::new("/no/such/runtime")), &short).unwrap();
        let folder = fallback.parent().unwrap();
        assert_eq!(folder, short.join(format!("clos-{}", clos_host::user_id())));
        assert_eq!(mode(folder), 0o700);
        fs::set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
        let error = home.socket_path(None, None, &short).unwrap_err().to_string();
        assert!(error.contains("use --socket"), "{error}");

        let error = home.socket_path(None, None, &long).unwrap_err().to_string();
        assert!(error.contains("no folder is short enough"), "{error}");
        let error = home.socket_path(Some(&long.join("s")), None, &short).unwrap_err().to_string();
        assert!(error.contains(&format!("at most {SOCKET_PATH_LIMIT} bytes")), "{error}");
        let chosen = temp.path().join("s");
        assert_eq!(home.socket_path(Some(&chosen), None, &short).unwrap(), chosen);
    }

    #[test]
    fn a_folder_in_tmp_that_somebody_else_prepared_is_refused() {
        let temp = TempDir::new().unwrap();
        let home = Home::prepare(&temp.path().join("x".repeat(100))).unwrap();
        let elsewhere = temp.path().join("elsewhere");
        DirBuilder::new().mode(0o700).create(&elsewhere).unwrap();
        symlink(&elsewhere, temp.path().join(format!("clos-{}", clos_host::user_id()))).unwrap();
        let error = home.socket_path(None, None, temp.path()).unwrap_err().to_string();
        assert!(error.contains("it is not a folder of uid"), "{error}");
    }

    #[test]
    fn the_endpoint_is_told_while_we_run() {
        let (_temp, home) = home();
        let lock = home.lock().unwrap();
        let endpoint = Endpoint {
            socket: home.path().join("run/closd.sock"),
            tcp: Some("127.0.0.1:8080".parse().unwrap()),
            pid: 42,
            version: "2.0.0".into(),
            started_at: Timestamp::UNIX_EPOCH,
        };
        let announced = lock.announce(&endpoint).unwrap();
        let file = home.endpoint_file();
        assert_eq!(mode(&file), 0o600);
        let told: Endpoint = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(told, endpoint);
        drop(announced);
        assert!(!file.exists());
        fs::create_dir(&file).unwrap();
        let error = lock.announce(&endpoint).unwrap_err().to_string();
        assert!(error.ends_with("endpoint.json: cannot write"), "{error}");
    }
}
