//! What a project takes from this machine beyond its own folder, and for whom.
//!
//! The owner on the Unix socket could read every such file without CLOS, so for them it is a note of the plan.
//! For everybody else the project folder and the `roots:` of the configuration are the border.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use clos_compose::{self as compose, Key, Location, model};
use clos_domain::admit;
use clos_domain::ctx::{Ctx, Principal};
use clos_domain::error::{Finding, Severity};
use clos_domain::name::{GroupRef, ServiceRef};
use clos_domain::plan::{Plan, Work};
use clos_domain::problem::Problem;
use clos_domain::seams::files::{self, FileKind, Files};
use clos_domain::workload::{Build, Mount, MountKind};
use clos_domain::{Reason, admit::Kind};

use crate::Shared;
use crate::convert::{Converted, located, rendered};

/// A file that a project names may have so many bytes.
const FILE_LIMIT: u64 = 1 << 20;
const WAY_OUT: &str =
    "move it into the project, add its folder to `roots:` in closd.yaml, or call closd over its Unix socket";
const OWNER_ONLY: &str = "remove the mount, or call closd over its Unix socket";

/// Where the files of one project may lie.
#[derive(Debug)]
pub(crate) struct Reach {
    roots: Vec<String>,
    working_dir: String,
    /// Whether what lies outside the roots is only noted.
    everywhere: bool,
    notes: Vec<String>,
    noted: BTreeSet<String>,
    /// Dockerfiles that are not there, by their paths.
    no_dockerfile: BTreeMap<String, Problem>,
}

impl Reach {
    /// For who asks, about the project of a folder.
    pub(crate) async fn of(shared: &Shared, ctx: &Ctx, working_dir: &str) -> Self {
        let mut roots: Vec<String> = shared.world.files.project_root(working_dir).await.into_iter().collect();
        roots.extend(shared.settings.roots.iter().cloned());
        Self {
            roots,
            working_dir: working_dir.to_owned(),
            everywhere: matches!(ctx.principal, Principal::Owner { .. }),
            notes: Vec::new(),
            noted: BTreeSet::new(),
            no_dockerfile: BTreeMap::new(),
        }
    }

    /// What was taken from outside, for the plan.
    pub(crate) fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The Dockerfiles that a plan needs and that are not there.
    pub(crate) fn into_missing(mut self, plan: &Plan) -> Vec<Problem> {
        let builds = plan.steps.iter().filter_map(|step| match &step.work {
            Work::Build { build, .. } => dockerfile(build),
            _ => None,
        });
        builds.filter_map(|path| self.no_dockerfile.remove(&path)).collect()
    }

    /// The text of a file that the compose files name.
    pub(crate) async fn read(
        &mut self,
        files: &dyn Files,
        wanted: &compose::Wanted,
    ) -> Result<String, compose::SourceError> {
        let mut outcome = files.read_text(&self.roots, &wanted.path, FILE_LIMIT).await;
        if self.everywhere && matches!(outcome, Err(files::Error::OutsideRoot(_))) {
            outcome = files.read_text(&anywhere(), &wanted.path, FILE_LIMIT).await;
            if outcome.is_ok() {
                self.note("reads", &wanted.path, &wanted.at, &wanted.key);
            }
        }
        outcome.map_err(|error| self.source_error(error))
    }

    fn source_error(&self, error: files::Error) -> compose::SourceError {
        use compose::SourceError as S;
        match error {
            files::Error::NotFound(path) => S::NotFound { path },
            files::Error::OutsideRoot(path) => S::OutsideRoot {
                path,
                root: self.roots.first().cloned().unwrap_or_else(|| "(none)".to_owned()),
            },
            files::Error::TooLarge { path, limit } => S::TooLarge { path, bytes: limit + 1, limit },
            files::Error::Unreadable { path, why } => S::Unreadable { path, reason: why },
        }
    }

    /// What is at a path, and whether that is outside.
    async fn look(&self, files: &dyn Files, path: &str) -> Result<(FileKind, bool), files::Error> {
        match files.resolve(&self.roots, path).await {
            Err(files::Error::OutsideRoot(_)) if self.everywhere => {
                files.resolve(&anywhere(), path).await.map(|(_, kind)| (kind, true))
            }
            found => found.map(|(_, kind)| (kind, false)),
        }
    }

    fn note(&mut self, does: &str, path: &str, at: &Location, key: &Key) {
        let text = match inside(&self.working_dir, path) {
            // By a symlink.
            Some(path) => format!("{does} {path}, which leads outside the project folder"),
            None => {
                let path = seen_from(&self.working_dir, path);
                format!("{does} {path}, which is outside the project folder")
            }
        };
        self.note_text(text, at, key);
    }

    /// Once for a place: what stands in an anchor is written once.
    fn note_text(&mut self, text: String, at: &Location, key: &Key) {
        let note = rendered(&located(Severity::Warning, at, key, text));
        if self.noted.insert(note.clone()) {
            self.notes.push(note);
        }
    }

    /// What the services want of this machine: build contexts and what is mounted without being made must be
    /// there, what lies outside is noted or refused, and what gives power over the machine is told.
    pub(crate) async fn judge(
        &mut self,
        shared: &Shared,
        group: &GroupRef,
        project: &compose::Project,
        converted: &Converted,
    ) -> (Vec<Finding>, Vec<Problem>) {
        let (mut findings, mut problems) = (Vec::new(), Vec::new());
        for definition in &converted.services {
            let Some(service) = project.services.iter().find(|one| one.name == definition.name.as_str())
            else {
                continue;
            };
            let owner = ServiceRef { group: group.clone(), name: definition.name.clone() };
            if let Some(build) = &definition.container().build {
                problems.extend(self.check_build(shared, &owner, service, build).await);
            }
            let mut container = Cow::Borrowed(definition.container());
            for at in 0..container.mounts.len() {
                let mount = &container.mounts[at];
                if let (MountKind::Bind, Some(source)) = (mount.kind, &mount.source) {
                    problems.extend(check_source(shared, &owner, mount, source).await);
                    let canonical = shared.world.files.canonical(source).await;
                    container.to_mut().mounts[at].source = Some(canonical);
                }
            }
            let request = admit::Request {
                container: &container,
                volumes: &converted.group.volumes,
                roots: &self.roots,
            };
            for found in admit::admit(&request) {
                let mount = found.mount.and_then(|at| definition.container().mounts.get(at));
                let (at, key) = match mount {
                    Some(mount) => place_of(project, service, mount),
                    None => {
                        let field = found.key.split('[').next().unwrap_or_default();
                        (service.place(field), service.key().child(&found.key))
                    }
                };
                match found.kind {
                    Kind::Outside | Kind::System if !self.everywhere => {
                        problems.push(problem(
                            Reason::OutsideRoot,
                            &owner,
                            &at,
                            &key,
                            found.message,
                            if found.kind == Kind::System { OWNER_ONLY } else { WAY_OUT },
                        ));
                    }
                    Kind::Outside => self.note_text(found.message, &at, &key),
                    Kind::System | Kind::Power => {
                        findings.push(located(Severity::Warning, &at, &key, found.message));
                    }
                }
            }
        }
        (findings, problems)
    }

    async fn check_build(
        &mut self,
        shared: &Shared,
        owner: &ServiceRef,
        service: &model::Service,
        build: &Build,
    ) -> Option<Problem> {
        let files = shared.world.files.as_ref();
        let (at, key) = (service.place("build"), service.key().child("build"));
        let context = key.child("context");
        let not_found = |message: String, hint: &str| {
            Some(problem(Reason::FileNotFound, owner, &at, &context, message, hint))
        };
        let outside = |path: String, key: &Key| {
            let message = format!("{path} is outside the project folder");
            Some(problem(Reason::OutsideRoot, owner, &at, key, message, WAY_OUT))
        };
        match self.look(files, &build.context).await {
            Ok((FileKind::Folder, false)) => {}
            Ok((FileKind::Folder, true)) => self.note("builds from", &build.context, &at, &context),
            Ok(_) => return not_found(format!("{} is not a folder", build.context), "name its folder"),
            Err(files::Error::OutsideRoot(path)) => return outside(path, &context),
            Err(error) => {
                return not_found(error.to_string(), "create the folder or correct `build.context`");
            }
        }
        let path = dockerfile(build)?;
        let key = key.child("dockerfile");
        match self.look(files, &path).await {
            Err(files::Error::OutsideRoot(path)) => return outside(path, &key),
            // With a context outside that is said already.
            Ok((_, true)) if inside(&build.context, &path).is_none() => {
                self.note("reads", &path, &at, &key);
            }
            // It matters only if something is built.
            Err(files::Error::NotFound(_)) => {
                let message =
                    format!("the Dockerfile {} does not exist", seen_from(&self.working_dir, &path));
                let hint = "create it or correct `build.dockerfile`";
                let found = problem(Reason::FileNotFound, owner, &at, &key, message, hint);
                self.no_dockerfile.insert(path.clone(), found.with("dockerfile", path));
            }
            Ok(_) | Err(_) => {}
        }
        None
    }
}

/// Where the Dockerfile of a build is, if it is a file.
fn dockerfile(build: &Build) -> Option<String> {
    let named = build.dockerfile.as_deref()?;
    Some(match named.starts_with('/') {
        true => named.to_owned(),
        false => format!("{}/{named}", build.context.trim_end_matches('/')),
    })
}

fn anywhere() -> [String; 1] {
    ["/".to_owned()]
}

fn problem(
    reason: Reason,
    owner: &ServiceRef,
    at: &Location,
    key: &Key,
    message: String,
    hint: &str,
) -> Problem {
    let finding = located(Severity::Error, at, key, message);
    Problem::new(reason, owner, rendered(&finding), hint).at(finding)
}

/// What is mounted without being made must be there.
async fn check_source(shared: &Shared, owner: &ServiceRef, mount: &Mount, source: &str) -> Option<Problem> {
    if mount.create_host_path || shared.world.files.exists(source).await {
        return None;
    }
    let message = format!("`{owner}` mounts {source} at {}, and {source} does not exist", mount.target);
    let problem = Problem::new(Reason::FileNotFound, owner, message, "create it or correct the path");
    Some(problem.with("path", source))
}

/// Where the files name the source of a mount.
fn place_of(project: &compose::Project, service: &model::Service, mount: &Mount) -> (Location, Key) {
    let source = mount.source.as_deref().unwrap_or_default();
    let own = service.volumes.iter().position(|one| one.target == mount.target);
    if mount.kind == MountKind::Volume
        && let Some(volume) = project.volumes.iter().find(|volume| volume.key == source)
    {
        return (volume.at.clone(), Key::of(&["volumes", source, "driver_opts", "device"]));
    }
    if let Some(index) = own {
        return (service.volumes[index].at.clone(), service.key().child("volumes").item(index));
    }
    let declared = [("secrets", &project.secrets), ("configs", &project.configs)];
    for (section, objects) in declared {
        let names_it = |object: &&model::FileObject| matches!(&object.source, model::FileSource::File(path) if path == source);
        if let Some(object) = objects.iter().find(names_it) {
            return (object.at.clone(), Key::of(&[section, &object.key, "file"]));
        }
    }
    (service.place("volumes"), service.key().child("volumes"))
}

/// What is left of a path below the folder.
fn inside<'p>(folder: &str, path: &'p str) -> Option<&'p str> {
    path.strip_prefix(folder.trim_end_matches('/'))?.strip_prefix('/')
}

/// A path as one would write it in the folder, if that takes no more than two steps up.
fn seen_from(folder: &str, path: &str) -> String {
    if let Some(below) = inside(folder, path) {
        return below.to_owned();
    }
    let mut up = String::new();
    let mut above = folder.trim_end_matches('/');
    for _ in 0..2 {
        let Some((parent, _)) = above.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) else {
            break;
        };
        above = parent;
        up.push_str("../");
        if let Some(below) = inside(above, path) {
            return format!("{up}{below}");
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_paths_are_shown_as_one_would_write_them() {
        for (path, shown) in [
            ("/home/ann/shared/base.yaml", "../shared/base.yaml"),
            ("/home/ann/shop2/x", "../shop2/x"),
            ("/home/base.yaml", "../../base.yaml"),
            ("/etc/passwd", "/etc/passwd"),
            ("/home/ann/shop/web/Dockerfile", "web/Dockerfile"),
        ] {
            assert_eq!(seen_from("/home/ann/shop", path), shown);
        }
        assert_eq!(seen_from("/shop", "/other/x"), "/other/x");
        assert_eq!(inside("/home/ann/shop/", "/home/ann/shop/linked"), Some("linked"));
        assert_eq!(inside("/home/ann/shop", "/home/ann/shop2/x"), None);
    }
}
