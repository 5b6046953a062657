//! What a project takes from this machine beyond its own folder, and for whom.
//!
//! [`crate::admission`] decides; here the files are read, and each answer gets its place in them.

use std::collections::{BTreeMap, BTreeSet};

use clos_compose::{self as compose, Key, Location, model};
use clos_domain::Reason;
use clos_domain::ctx::Ctx;
use clos_domain::error::{Finding, Severity};
use clos_domain::name::{GroupRef, ServiceRef};
use clos_domain::plan::{Plan, Work};
use clos_domain::problem::Problem;
use clos_domain::seams::files::{self, Files};
use clos_domain::workload::{Container, Mount, MountKind};

use crate::Shared;
use crate::admission::{self, Admission, Asked, Subject, Verdict};
use crate::convert::{Converted, located, rendered};

/// A file that a project names may have so many bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// Where the files of one project may lie.
#[derive(Debug)]
pub(crate) struct Reach {
    admission: Admission,
    notes: Vec<String>,
    noted: BTreeSet<String>,
    /// Dockerfiles that are not there, by their paths.
    no_dockerfile: BTreeMap<String, Problem>,
}

impl Reach {
    /// For who asks, about the project of a folder.
    pub(crate) async fn of(shared: &Shared, ctx: &Ctx, working_dir: &str) -> Self {
        Self {
            admission: Admission::of(shared, ctx, working_dir).await,
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
            Work::Build { build, .. } => admission::dockerfile(build),
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
        let mut outcome = files.read_text(&self.admission.roots, &wanted.path, FILE_LIMIT).await;
        if self.admission.is_owner && matches!(outcome, Err(files::Error::OutsideRoot(_))) {
            outcome = files.read_text(&admission::anywhere(), &wanted.path, FILE_LIMIT).await;
            if outcome.is_ok() {
                let text = self.admission.outside("reads", &wanted.path);
                self.note(text, &wanted.at, &wanted.key);
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
                root: self.admission.roots.first().cloned().unwrap_or_else(|| "(none)".to_owned()),
            },
            files::Error::TooLarge { path, limit } => S::TooLarge { path, bytes: limit + 1, limit },
            files::Error::Unreadable { path, why } => S::Unreadable { path, reason: why },
        }
    }

    /// Once for a place: what stands in an anchor is written once.
    fn note(&mut self, text: String, at: &Location, key: &Key) {
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
            let container = definition.container();
            for mount in &container.mounts {
                if let (MountKind::Bind, Some(source)) = (mount.kind, &mount.source) {
                    problems.extend(check_source(shared, &owner, mount, source).await);
                }
            }
            // What a project shares between its services is judged with the one that has it.
            let asked = Asked { container, volumes: &converted.group.volumes, siblings: &[] };
            for found in self.admission.judge(shared, &asked).await {
                let (at, key) = place(project, service, container, &found.subject);
                let problem = |reason, hint| problem(reason, &owner, &at, &key, found.message.clone(), hint);
                match found.verdict {
                    Verdict::Refused(reason, hint) => problems.push(problem(reason, hint)),
                    Verdict::Note => self.note(found.message, &at, &key),
                    Verdict::Warning => {
                        findings.push(located(Severity::Warning, &at, &key, found.message));
                    }
                    Verdict::NoFolder(hint) => problems.push(problem(Reason::FileNotFound, hint)),
                    Verdict::NoDockerfile(path) => {
                        let hint = "create it or correct `build.dockerfile`";
                        let found = problem(Reason::FileNotFound, hint).with("dockerfile", &path);
                        self.no_dockerfile.insert(path, found);
                    }
                }
            }
        }
        (findings, problems)
    }
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

/// Where the files say what a finding is about.
fn place(
    project: &compose::Project,
    service: &model::Service,
    container: &Container,
    subject: &Subject,
) -> (Location, Key) {
    let of_build = |key: &str| (service.place("build"), service.key().child("build").child(key));
    match subject {
        Subject::Mount(at) => match container.mounts.get(*at) {
            Some(mount) => place_of(project, service, mount),
            None => (service.place("volumes"), service.key().child("volumes")),
        },
        Subject::Context => of_build("context"),
        Subject::Dockerfile => of_build("dockerfile"),
        Subject::Key(key) => match key.strip_prefix("build.") {
            Some(key) => of_build(key),
            None => {
                let field = key.split('[').next().unwrap_or_default();
                (service.place(field), service.key().child(key))
            }
        },
    }
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
