//! Who may have what a spec asks of this machine.
//!
//! `domain::admit` finds what gives power over the machine, and this module finds what lies outside the project;
//! the answer depends on who asks. The owner on the Unix socket could do all of it without CLOS and is told, everybody
//! else is refused. Compose files ([`crate::reach`]) and the specs of the API (`services`, `groups`) share this one
//! rule and differ only in how they name the place.

use std::borrow::Cow;

use clos_domain::admit::{self, Kind};
use clos_domain::ctx::{Ctx, Principal};
use clos_domain::error::FieldViolation;
use clos_domain::group::{self, Group};
use clos_domain::name::{GroupRef, ServiceRef};
use clos_domain::plan::{Plan, Work};
use clos_domain::problem::{self, Problem};
use clos_domain::seams::Tx;
use clos_domain::seams::files::{self, FileKind, Files};
use clos_domain::service::{Definition, Service};
use clos_domain::workload::{Build, Container, MountKind, Volume};
use clos_domain::{Reason, Result};
use indexmap::IndexMap;

use crate::Shared;
use crate::snapshot::Scope;

pub(crate) const WAY_OUT: &str =
    "move it into the project, add its folder to `roots:` in closd.yaml, or call closd over its Unix socket";
const OWNER_ONLY: &str = "remove the mount, or call closd over its Unix socket";
const RIGHT: &str = "leave it out, or call closd over its Unix socket, where only its owner gets in";

/// Where the files of one project may lie, and who asks.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) roots: Vec<String>,
    pub(crate) working_dir: String,
    /// The owner on the Unix socket: nothing is refused.
    pub(crate) is_owner: bool,
}

/// A spec to judge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) container: &'a Container,
    /// The group's volumes, by the file's name.
    pub(crate) volumes: &'a IndexMap<String, Volume>,
    /// Services of the group that are defined already and that it may share something with.
    pub(crate) siblings: &'a [Service],
}

/// Which part of a spec a finding is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Dotted path below the service.
    Key(String),
    /// A mount, by its index.
    Mount(usize),
    /// The folder of a build.
    Context,
    /// The Dockerfile of a build.
    Dockerfile,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A note: it lies outside, and who asks may take it.
    Note,
    /// A warning: it gives power over the machine, and who asks may have that.
    Warning,
    /// Not for who asks.
    Refused(Reason, &'static str),
    /// There is no such folder.
    NoFolder(&'static str),
    /// There is no such Dockerfile, which matters only if something is built.
    NoDockerfile(String),
}

/// Something that a spec asks of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) subject: Subject,
    pub(crate) message: String,
    pub(crate) verdict: Verdict,
}

impl Admission {
    /// For who asks, about the project of a folder.
    pub(crate) async fn of(shared: &Shared, ctx: &Ctx, working_dir: &str) -> Self {
        let is_owner = matches!(ctx.principal, Principal::Owner { .. } | Principal::System);
        Self::new(shared, is_owner, working_dir).await
    }

    async fn new(shared: &Shared, is_owner: bool, working_dir: &str) -> Self {
        let project = shared.world.files.project_root(working_dir).await;
        // The caller names the folder: `/etc` does not become a project by being named.
        let project = project.filter(|root| is_owner || !admit::is_system_path(root));
        let mut roots: Vec<String> = project.into_iter().collect();
        roots.extend(shared.settings.roots.iter().cloned());
        Self { roots, working_dir: working_dir.to_owned(), is_owner }
    }

    /// Everything that a spec asks of this machine beyond its project, with the answer to it.
    pub(crate) async fn judge(&self, shared: &Shared, asked: &Asked<'_>) -> Vec<Found> {
        let mut found = Vec::new();
        if let Some(build) = &asked.container.build {
            self.judge_build(shared.world.files.as_ref(), build, &mut found).await;
        }
        let mut container = Cow::Borrowed(asked.container);
        for at in 0..container.mounts.len() {
            let mount = &container.mounts[at];
            if let (MountKind::Bind, Some(source)) = (mount.kind, &mount.source) {
                let canonical = shared.world.files.canonical(source).await;
                container.to_mut().mounts[at].source = Some(canonical);
            }
        }
        let volumes = canonical(shared, asked.volumes).await;
        let siblings: Vec<_> = asked
            .siblings
            .iter()
            .map(|one| (one.definition.name.as_str(), one.definition.container()))
            .collect();
        let request = admit::Request {
            container: &container,
            volumes: &volumes,
            siblings: &siblings,
            roots: &self.roots,
        };
        let powers = admit::admit(&request).into_iter().map(|one| Found {
            subject: one.mount.map_or_else(|| Subject::Key(one.key), Subject::Mount),
            verdict: self.verdict(one.kind),
            message: one.message,
        });
        found.extend(powers);
        found
    }

    fn verdict(&self, kind: Kind) -> Verdict {
        match kind {
            Kind::Outside if self.is_owner => Verdict::Note,
            Kind::System | Kind::Power if self.is_owner => Verdict::Warning,
            Kind::Outside => Verdict::Refused(Reason::OutsideRoot, WAY_OUT),
            Kind::System => Verdict::Refused(Reason::OutsideRoot, OWNER_ONLY),
            Kind::Power => Verdict::Refused(Reason::AdmissionRefused, RIGHT),
        }
    }

    async fn judge_build(&self, files: &dyn Files, build: &Build, found: &mut Vec<Found>) {
        let mut find = |subject, message, verdict| found.push(Found { subject, message, verdict });
        let outside = |path: &str| format!("{path} is outside the project folder");
        let refused = Verdict::Refused(Reason::OutsideRoot, WAY_OUT);
        match self.look(files, &build.context).await {
            Ok((FileKind::Folder, false)) => {}
            Ok((FileKind::Folder, true)) => {
                find(Subject::Context, self.outside("builds from", &build.context), Verdict::Note);
            }
            Ok(_) => {
                let message = format!("{} is not a folder", build.context);
                return find(Subject::Context, message, Verdict::NoFolder("name its folder"));
            }
            Err(files::Error::OutsideRoot(path)) => return find(Subject::Context, outside(&path), refused),
            Err(error) => {
                let hint = "create the folder or correct `build.context`";
                return find(Subject::Context, error.to_string(), Verdict::NoFolder(hint));
            }
        }
        let Some(path) = dockerfile(build) else { return };
        match self.look(files, &path).await {
            Err(files::Error::OutsideRoot(path)) => find(Subject::Dockerfile, outside(&path), refused),
            // With a context outside that is said already.
            Ok((_, true)) if inside(&build.context, &path).is_none() => {
                find(Subject::Dockerfile, self.outside("reads", &path), Verdict::Note);
            }
            Err(files::Error::NotFound(_)) => {
                let message =
                    format!("the Dockerfile {} does not exist", seen_from(&self.working_dir, &path));
                find(Subject::Dockerfile, message, Verdict::NoDockerfile(path));
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// What is at a path, and whether that is outside.
    async fn look(
        &self,
        files: &dyn Files,
        path: &str,
    ) -> std::result::Result<(FileKind, bool), files::Error> {
        match files.resolve(&self.roots, path).await {
            Err(files::Error::OutsideRoot(_)) if self.is_owner => {
                files.resolve(&anywhere(), path).await.map(|(_, kind)| (kind, true))
            }
            found => found.map(|(_, kind)| (kind, false)),
        }
    }

    /// That something is taken from outside.
    pub(crate) fn outside(&self, does: &str, path: &str) -> String {
        match inside(&self.working_dir, path) {
            // By a symlink.
            Some(path) => format!("{does} {path}, which leads outside the project folder"),
            None => {
                let path = seen_from(&self.working_dir, path);
                format!("{does} {path}, which is outside the project folder")
            }
        }
    }
}

/// Refuses a spec of the API that asks for more than who asks may have; every field is named. The files are looked
/// at without the store: a dead file system is nobody else's trouble.
pub(crate) async fn admit_service(
    shared: &Shared,
    ctx: &Ctx,
    mut view: Box<dyn Tx>,
    name: &GroupRef,
    group: Option<&Group>,
    definition: &Definition,
) -> Result<()> {
    let none = group::Definition::default();
    let siblings = match group {
        Some(group) => view.services().of_group(&group.id).await?,
        None => Vec::new(),
    };
    drop(view);
    let group = group.map_or(&none, |group| &group.definition);
    let admission = Admission::of(shared, ctx, &group.working_dir).await;
    let asked = Asked { container: definition.container(), volumes: &group.volumes, siblings: &siblings };
    let owner = ServiceRef { group: name.clone(), name: definition.name.clone() };
    let (mut problems, mut fields) = (Vec::new(), Vec::new());
    for found in admission.judge(shared, &asked).await {
        let field = field(&found.subject);
        match found.verdict {
            Verdict::Refused(reason, hint) => {
                let message = format!("{field}: {}", found.message);
                problems.push(Problem::new(reason, &owner, message, hint).with("field", &field));
                fields.push(FieldViolation { field, description: format!("{}; {hint}", found.message) });
            }
            Verdict::Note | Verdict::Warning => {
                tracing::warn!(service = %owner, field, "the owner's spec was admitted: {}", found.message);
            }
            // A build says what is missing, when there is one.
            Verdict::NoFolder(_) | Verdict::NoDockerfile(_) => {}
        }
    }
    problem::refusal(&problems).map_or(Ok(()), |error| Err(error.with_fields(fields)))
}

/// The same for the volumes of a group, which may be mounts of this machine in disguise.
pub(crate) async fn admit_volumes(
    shared: &Shared,
    ctx: &Ctx,
    name: &GroupRef,
    group: &group::Definition,
    before: Option<&group::Definition>,
) -> Result<()> {
    let admission = Admission::of(shared, ctx, &group.working_dir).await;
    let (mut problems, mut fields) = (Vec::new(), Vec::new());
    let canonical = canonical(shared, &group.volumes).await;
    for (index, (key, volume)) in canonical.iter().enumerate() {
        if before.is_some_and(|before| before.volumes.get(key) == group.volumes.get(key)) {
            continue;
        }
        let Some((kind, message)) = admit::judge_volume(volume, &admission.roots) else { continue };
        let field = format!("volumes[{index}].driver_opts");
        match admission.verdict(kind) {
            Verdict::Refused(reason, hint) => {
                let told = format!("{field}: volume `{key}`: {message}");
                problems.push(Problem::new(reason, name, told, hint).with("field", &field));
                fields.push(FieldViolation { field, description: format!("{message}; {hint}") });
            }
            _ => tracing::warn!(group = %name, field, "the owner's volume was admitted: {message}"),
        }
    }
    problem::refusal(&problems).map_or(Ok(()), |error| Err(error.with_fields(fields)))
}

/// Notes of a plan: what containers get of this machine whose specs came from no file. Of files it is noted with
/// the place when they are applied.
pub(crate) async fn notes(shared: &Shared, scopes: &[Scope], plan: &Plan) -> Vec<String> {
    let mut notes = Vec::new();
    for step in &plan.steps {
        let Work::Create(spec) = &step.work else { continue };
        if spec.identity.config_hash.is_some() {
            continue;
        }
        let id = &spec.identity.service_id;
        let known =
            scopes.iter().find_map(|scope| Some((scope, scope.all.iter().find(|one| one.id == *id)?)));
        let Some((scope, service)) = known else { continue };
        let admission = Admission::new(shared, true, &scope.group.definition.working_dir).await;
        let asked = Asked {
            container: service.definition.container(),
            volumes: &scope.group.definition.volumes,
            siblings: &scope.all,
        };
        for found in admission.judge(shared, &asked).await {
            if matches!(found.verdict, Verdict::Note | Verdict::Warning) {
                notes.push(format!("`{}`: {}: {}", service.resource(), field(&found.subject), found.message));
            }
        }
    }
    notes
}

/// The field of the API.
fn field(subject: &Subject) -> String {
    match subject {
        Subject::Key(key) => format!("docker_config.{key}"),
        Subject::Mount(index) => format!("docker_config.volumes[{index}].source"),
        Subject::Context => "docker_config.build.context".to_owned(),
        Subject::Dockerfile => "docker_config.build.dockerfile".to_owned(),
    }
}

/// Volumes whose devices are where their symlinks lead, which the mount would follow.
async fn canonical(shared: &Shared, volumes: &IndexMap<String, Volume>) -> IndexMap<String, Volume> {
    let mut volumes = volumes.clone();
    for volume in volumes.values_mut() {
        if let Some(device) = volume.driver_opts.get_mut("device").filter(|device| device.starts_with('/')) {
            *device = shared.world.files.canonical(device).await;
        }
    }
    volumes
}

/// Where the Dockerfile of a build is, if it is a file.
pub(crate) fn dockerfile(build: &Build) -> Option<String> {
    let named = build.dockerfile.as_deref()?;
    Some(match named.starts_with('/') {
        true => named.to_owned(),
        false => format!("{}/{named}", build.context.trim_end_matches('/')),
    })
}

pub(crate) fn anywhere() -> [String; 1] {
    ["/".to_owned()]
}

/// What is left of a path below the folder.
pub(crate) fn inside<'p>(folder: &str, path: &'p str) -> Option<&'p str> {
    path.strip_prefix(folder.trim_end_matches('/'))?.strip_prefix('/')
}

/// A path as one would write it in the folder, if that takes no more than two steps up.
pub(crate) fn seen_from(folder: &str, path: &str) -> String {
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
