//! `links`: a second name for another service. Engines have these no more; the name becomes an alias of the
//! other service on the networks that both are on, where everybody there can use it.

use std::collections::BTreeSet;

use clos_compose as compose;
use clos_domain::name::shown;
use clos_domain::service::Definition;

use super::{Report, Site};

pub(super) fn share(project: &compose::Project, services: &mut [Definition], report: &mut Report) {
    for service in &project.services {
        let mut site = Site { service, report };
        if !service.external_links.is_empty() {
            let message =
                "containers outside the project cannot be linked; let both join one external network";
            site.error("external_links", message);
        }
        for link in &service.links {
            let (other, alias) = link.split_once(':').unwrap_or((link, link));
            one(&mut site, services, other, alias);
        }
    }
}

fn one(site: &mut Site<'_>, services: &mut [Definition], other: &str, alias: &str) {
    let networks_of = |name: &str| -> Option<BTreeSet<String>> {
        let definition = services.iter().find(|definition| definition.name.as_str() == name)?;
        Some(definition.container().networks.iter().map(|join| join.network.clone()).collect())
    };
    // What is missing here was an error already.
    let (Some(own), Some(others)) = (networks_of(&site.service.name), networks_of(other)) else { return };
    let shared: BTreeSet<&String> = own.intersection(&others).collect();
    if shared.is_empty() {
        site.error(
            "links",
            format!("the service is on no network with `{}`; let both join one", shown(other)),
        );
        return;
    }
    if alias == other {
        return;
    }
    if services.iter().any(|definition| definition.name.as_str() == alias) {
        let message = format!("`{}` is a service of its own; give the link another name", shown(alias));
        site.error("links", message);
        return;
    }
    let Some(target) = services.iter_mut().find(|definition| definition.name.as_str() == other) else {
        return;
    };
    for join in &mut target.container_mut().networks {
        if shared.contains(&join.network) && !join.aliases.iter().any(|known| known == alias) {
            join.aliases.push(alias.to_owned());
        }
    }
    let (at, key) = (site.at("links"), site.key("links"));
    let message = format!("`{alias}` names `{other}` for every service on the same network");
    site.report.note(&at, &key, message);
}
