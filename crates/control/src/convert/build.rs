//! How an image is built, as far as the engine's own builder goes.

use clos_compose::model;
use clos_domain::admit::tidy;
use clos_domain::name::shown;
use clos_domain::workload::Build;

use super::{Site, container, limits};

pub(super) fn build(site: &mut Site<'_>) -> Option<Build> {
    let build = site.service.build.as_ref()?;
    if !build.context.starts_with('/') {
        let message = format!(
            "`{}` is not a folder on this machine; fetch it first and name the folder",
            shown(&build.context)
        );
        site.error("build.context", message);
        return None;
    }
    unsupported(site, build);
    Some(Build {
        context: build.context.clone(),
        dockerfile: dockerfile(build),
        dockerfile_inline: build.dockerfile_inline.clone(),
        args: build.args.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect(),
        labels: build.labels.clone(),
        target: build.target.clone(),
        tags: build.tags.clone(),
        cache_from: build.cache_from.clone(),
        no_cache: build.no_cache,
        pull: build.pull,
        network: build.network.clone(),
        shm_size: limits::bytes(site, "build.shm_size", build.shm_size),
        platform: platform(site, build),
        extra_hosts: container::hosts(&build.extra_hosts),
        digest: String::new(),
    })
}

fn unsupported(site: &mut Site<'_>, build: &model::Build) {
    if let Some(name) = build.additional_contexts.keys().next() {
        // Without it `FROM name` would take whatever a registry has under that name.
        let message = format!(
            "more contexts than one are not supported, and `{}` would be looked for in a registry; copy it into the context",
            shown(name)
        );
        site.error("build.additional_contexts", message);
    }
    let table = [
        ("build.secrets", !build.secrets.is_empty(), "the build sees no secrets; steps that need one fail"),
        ("build.ssh", !build.ssh.is_empty(), "the build reaches no SSH agent; steps that need one fail"),
        ("build.cache_to", !build.cache_to.is_empty(), "caches are not exported; it has no effect here"),
        (
            "build.ulimits",
            !build.ulimits.is_empty(),
            "builds have the engine's limits; it has no effect here",
        ),
        ("build.privileged", build.privileged, "builds are never privileged; it has no effect here"),
    ];
    for (field, is_there, message) in table {
        if is_there {
            site.warn(field, message);
        }
    }
}

/// Relative to the context where it is below it, else the whole path: the engine is sent it beside the context.
fn dockerfile(build: &model::Build) -> Option<String> {
    let path = build.dockerfile.as_deref()?;
    let context = tidy(&build.context);
    let whole = if path.starts_with('/') { tidy(path) } else { tidy(&format!("{context}/{path}")) };
    let below = whole.strip_prefix(context.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
    Some(below.map_or_else(|| whole.clone(), str::to_owned))
}

/// An image that is run here is built for one platform: the service's, else the only one of the list.
fn platform(site: &mut Site<'_>, build: &model::Build) -> Option<String> {
    if site.service.platform.is_some() {
        return site.service.platform.clone();
    }
    if build.platforms.len() > 1 {
        let message = "an image to be run here is built for one platform, the engine's own; `platform` of the service names another";
        site.warn("build.platforms", message);
        return None;
    }
    build.platforms.first().cloned()
}
