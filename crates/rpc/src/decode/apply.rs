//! A compose project that is sent: to apply, to plan, or to register only.

use clos_control::apply::{Request, Source};
use clos_domain::Result;
use clos_domain::name::{GroupName, Instance, ServiceName, shown};
use clos_domain::workload::PullPolicy;
use clos_proto::v2 as pb;

use super::Violations;

/// So many files make one project.
const FILES: usize = 64;
/// So many bytes may the texts have together.
const BYTES: usize = 2 << 20;
/// So many variables may be sent.
const VARIABLES: usize = 10_000;

/// Reads what is to be applied.
pub(crate) fn apply(request: pb::ApplyGroupRequest) -> Result<Request> {
    let mut v = Violations::default();
    super::request_id(&mut v, &request.request_id);
    let (group, instance) = target(&mut v, "name", &request.name, &request.instance);
    let source = source(&mut v, request.source);
    // A resource name is compared with the group, which the files may name.
    for (index, name) in request.services.iter().enumerate().filter(|(_, name)| !name.contains('/')) {
        v.take(ServiceName::parse(&format!("services[{index}]"), name));
    }
    let with_dependencies = request.with_dependencies.unwrap_or(true);
    if !with_dependencies && request.services.is_empty() {
        v.add(
            "with_dependencies",
            "it is about dependencies of `services`, and `services` is empty; name some or leave it out",
        );
    }
    let start = request.start.unwrap_or(true);
    if !start && request.atomic {
        v.add("atomic", "nothing is started, so there is nothing to undo; leave it out");
    }
    let pull = pull(&mut v, request.pull);
    let build = request.build || pull == Some(PullPolicy::Build);
    let read = source.map(|source| Request {
        group,
        instance,
        source,
        profiles: request.profiles,
        dry_run: request.dry_run,
        start,
        build,
        pull: pull.filter(|pull| *pull != PullPolicy::Build),
        atomic: request.atomic,
        adopt: request.adopt,
        move_here: request.r#move,
        remove_orphans: request.remove_orphans,
        services: request.services,
        no_deps: !with_dependencies,
        force_recreate: request.force_recreate,
        no_wait: !request.wait.unwrap_or(true),
        renew_anon_volumes: request.renew_anon_volumes,
    });
    v.finish(read)
}

/// Reads what is to be registered: rows only.
pub(crate) fn import(request: pb::ImportServicesRequest) -> Result<Request> {
    let mut v = Violations::default();
    super::request_id(&mut v, &request.request_id);
    let (group, instance) = target(&mut v, "group", &request.group, &request.instance);
    let source = source(&mut v, request.source);
    let read = source.map(|source| Request {
        group,
        instance,
        source,
        profiles: request.profiles,
        dry_run: request.dry_run,
        start: false,
        build: false,
        pull: None,
        atomic: false,
        adopt: false,
        move_here: request.r#move,
        remove_orphans: false,
        services: Vec::new(),
        no_deps: false,
        force_recreate: false,
        no_wait: false,
        renew_anon_volumes: false,
    });
    v.finish(read)
}

/// What overrides the files' word; unspecified is as they say.
pub(crate) fn pull(v: &mut Violations, number: i32) -> Option<PullPolicy> {
    Some(match v.word("pull", number)? {
        pb::PullPolicy::Unspecified => return None,
        pb::PullPolicy::Missing => PullPolicy::Missing,
        pb::PullPolicy::Always => PullPolicy::Always,
        pb::PullPolicy::Never => PullPolicy::Never,
        pb::PullPolicy::Build => PullPolicy::Build,
    })
}

/// The group and the instance; `-` and nothing are the name that the files give, and
/// `shop~x` says the instance as well.
fn target(v: &mut Violations, field: &str, name: &str, instance: &str) -> (Option<String>, Option<String>) {
    let (name, with_name) = match name.split_once('~') {
        Some((name, instance)) => (name, Some(instance)),
        None => (name, None),
    };
    let instance = match (with_name, instance) {
        (Some(with_name), "") => with_name,
        (Some(with_name), instance) if instance != with_name => {
            let message =
                format!("`{}` is not the one that {field} names; give one of them", shown(instance));
            v.add("instance", message);
            instance
        }
        (_, instance) => instance,
    };
    let group = match name {
        "" | "-" => None,
        raw => v.take(GroupName::parse(field, raw)).map(|name| name.to_string()),
    };
    let instance = match (instance, with_name) {
        ("", None) => None,
        (raw, _) => v.take(Instance::parse("instance", raw)).map(|instance| instance.to_string()),
    };
    (group, instance)
}

fn source(v: &mut Violations, source: Option<pb::ComposeSource>) -> Option<Source> {
    let Some(source) = source else {
        v.add("source", "it is missing; send the working folder and the texts of the compose files");
        return None;
    };
    if !source.working_dir.starts_with('/') {
        let message = format!("`{}` must be an absolute folder", shown(&source.working_dir));
        v.add("source.working_dir", message);
    }
    if source.files.is_empty() || source.files.len() > FILES {
        v.add("source.files", format!("there are {}; 1-{FILES} are allowed", source.files.len()));
    }
    if source.env_files.len() > FILES {
        let message = format!("there are {}; at most {FILES} are allowed", source.env_files.len());
        v.add("source.env_files", message);
    }
    if source.dotenv.is_some() && !source.env_files.is_empty() {
        v.add("source.dotenv", "`env_files` replace it; send one of them");
    }
    if !source.home.is_empty() && (!source.home.starts_with('/') || source.home.contains('\0')) {
        v.add("source.home", format!("`{}` must be an absolute folder", shown(&source.home)));
    }
    for (field, files) in [("files", &source.files), ("env_files", &source.env_files)] {
        for (index, file) in files.iter().enumerate() {
            if file.path.is_empty() || file.path.contains('\0') {
                let message = "it is missing; give the file's path, for findings";
                v.add(format!("source.{field}[{index}].path"), message);
            }
        }
    }
    let texts = source.files.iter().chain(&source.env_files).map(|file| &file.content).chain(&source.dotenv);
    let bytes = texts.map(String::len).sum::<usize>();
    if bytes > BYTES {
        v.add("source.files", format!("the texts have {bytes} bytes; at most {BYTES} are allowed"));
    }
    if source.variables.len() > VARIABLES {
        let message = format!(
            "there are {}; at most {VARIABLES} are allowed, send only those that the files name",
            source.variables.len()
        );
        v.add("source.variables", message);
    }
    for name in source.variables.keys().filter(|name| name.is_empty() || name.contains(['=', '\0'])) {
        let message = "a variable's name must not be empty and has no `=`";
        v.add(format!("source.variables[{}]", shown(&name.escape_debug().to_string())), message);
    }
    let files = |files: Vec<pb::SourceFile>| -> Vec<(String, String)> {
        files.into_iter().map(|file| (file.path, file.content)).collect()
    };
    Some(Source {
        working_dir: source.working_dir,
        files: files(source.files),
        env_files: match source.dotenv {
            Some(text) => vec![(".env".to_owned(), text)],
            None => files(source.env_files),
        },
        home: Some(source.home).filter(|home| !home.is_empty()),
        variables: source.variables.into_iter().map(|(name, value)| (name, value.value)).collect(),
    })
}
