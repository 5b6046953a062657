//! What a network is made from, and how one that is there differs from its definition.

use std::collections::{BTreeMap, BTreeSet};

use clos_domain::plan::{Part, PresentNetwork};
use clos_domain::workload::{FoundNetwork, Network, Subnet};
use clos_domain::{Error, Result, secret, spec};

use crate::snapshot::hash_of;

/// Fills in the hash of the definition: SHA-256 of its JSON, without its name and owner.
pub(crate) fn hashed(network: &Network) -> Result<Network> {
    let what = Network { name: String::new(), owner: None, external: false, ..network.clone() };
    let spec_hash = hash_of(&serde_json::to_string(&what).map_err(Error::internal)?);
    Ok(Network { spec_hash, ..network.clone() })
}

/// The networks of the engine as the planner sees them.
pub(crate) fn present(
    listed: Vec<FoundNetwork>,
    installation: &str,
    parts: &[Part<'_>],
    is_ours: impl Fn(&FoundNetwork) -> bool,
) -> Result<BTreeMap<String, PresentNetwork>> {
    let mut all = BTreeMap::new();
    for found in listed {
        let group = found.network.owner.as_ref().map(|owner| owner.group.clone());
        let part = parts.iter().find(|part| group.as_ref() == Some(&part.group.name));
        let changes = match part {
            Some(part) => changed_in(part, installation, &found)?,
            None => None,
        };
        let present = PresentNetwork { id: found.id.clone(), is_ours: is_ours(&found), group, changes };
        all.insert(found.network.name, present);
    }
    Ok(all)
}

fn changed_in(part: &Part<'_>, installation: &str, found: &FoundNetwork) -> Result<Option<String>> {
    let mut keys = part.group.definition.networks.keys().map(String::as_str).chain([spec::DEFAULT_NETWORK]);
    let Some(key) = keys.find(|key| part.group.network_name(key) == found.network.name) else {
        return Ok(None);
    };
    let wanted = spec::network(installation, part.group, key);
    if wanted.external { Ok(None) } else { changes(&found.network, &wanted) }
}

/// What differs, for people; `None` where nothing does, or where that cannot be told.
fn changes(found: &Network, wanted: &Network) -> Result<Option<String>> {
    let mut told = differences(found, wanted);
    if found.spec_hash.is_empty() {
        let is_composes = found.owner.as_ref().is_some_and(|owner| owner.installation.is_empty());
        // One of ours without a hash is older than the label.
        return Ok((is_composes && !told.is_empty()).then(|| told.join(", ")));
    }
    if found.spec_hash == hashed(wanted)?.spec_hash {
        return Ok(None);
    }
    if told.is_empty() {
        // What the engine shows is its own choice by now.
        told.push("a key was removed".to_owned());
    }
    Ok(Some(told.join(", ")))
}

/// As far as the engine shows it: what the file leaves open the engine chooses.
fn differences(found: &Network, wanted: &Network) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |key: &str, old: Option<&str>, new: Option<&str>| {
        if old != new {
            let word =
                |value: Option<&str>| value.map_or("not set".to_owned(), |it| secret::masked_option(key, it));
            let (old, new) = (word(old), word(new));
            told.push(if old == new { format!("{key} changed") } else { format!("{key}: {old} → {new}") });
        }
    };
    if wanted.driver.is_some() {
        tell("driver", found.driver.as_deref(), wanted.driver.as_deref());
    }
    for (key, value) in &wanted.driver_opts {
        tell(&format!("driver_opts.{key}"), found.driver_opts.get(key).map(String::as_str), Some(value));
    }
    let word = |is: bool| Some(if is { "true" } else { "false" });
    tell("internal", word(found.internal), word(wanted.internal));
    tell("attachable", word(found.attachable), word(wanted.attachable));
    if let Some(wanted) = wanted.enable_ipv6 {
        tell("enable_ipv6", word(found.enable_ipv6 == Some(true)), word(wanted));
    }
    let labels: BTreeSet<&String> = found.labels.keys().chain(wanted.labels.keys()).collect();
    for key in labels {
        let of = |network: &Network| network.labels.get(key).cloned();
        tell(&format!("labels.{key}"), of(found).as_deref(), of(wanted).as_deref());
    }
    if wanted.subnets.iter().any(|pool| pool.subnet.is_some()) && !have_pools(found, wanted) {
        tell("ipam", Some(&pools(found)), Some(&pools(wanted)));
    }
    told
}

fn have_pools(found: &Network, wanted: &Network) -> bool {
    let says = |told: &Option<String>, shown: &Option<String>| told.is_none() || told == shown;
    let is_it = |told: &Subnet, shown: &Subnet| {
        says(&told.subnet, &shown.subnet)
            && says(&told.ip_range, &shown.ip_range)
            && says(&told.gateway, &shown.gateway)
            && told.aux_addresses == shown.aux_addresses
    };
    wanted.subnets.iter().all(|told| found.subnets.iter().any(|shown| is_it(told, shown)))
}

fn pools(network: &Network) -> String {
    let text = |pool: &Subnet| {
        let parts = [("", &pool.subnet), (" range ", &pool.ip_range), (" gateway ", &pool.gateway)];
        let parts = parts.iter().filter_map(|(word, value)| Some(format!("{word}{}", value.as_ref()?)));
        parts.collect::<String>()
    };
    network.subnets.iter().map(text).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use clos_domain::name::GroupRef;
    use clos_domain::workload::Owner;

    use super::*;

    fn owned(installation: &str) -> Option<Owner> {
        let group = GroupRef::parse("group", "shop").unwrap();
        Some(Owner { installation: installation.into(), group, key: "default".into() })
    }

    fn pool(subnet: &str) -> Subnet {
        Subnet { subnet: Some(subnet.into()), ..Subnet::default() }
    }

    #[test]
    fn a_network_of_ours_is_told_by_its_hash() {
        let wanted = Network::default();
        let shown = |made_from: &Network| Network {
            owner: owned("me"),
            driver: Some("bridge".into()),
            subnets: vec![pool("172.18.0.0/16")],
            ..hashed(made_from).unwrap()
        };
        assert_eq!(changes(&shown(&wanted), &wanted).unwrap(), None);
        let internal = Network { internal: true, ..Network::default() };
        assert_eq!(changes(&shown(&wanted), &internal).unwrap().unwrap(), "internal: false → true");
        let removed = Network { subnets: vec![pool("10.9.0.0/24")], ..Network::default() };
        assert_eq!(changes(&shown(&removed), &wanted).unwrap().unwrap(), "a key was removed");
        let told = changes(&shown(&wanted), &removed).unwrap().unwrap();
        assert_eq!(told, "ipam: 172.18.0.0/16 → 10.9.0.0/24");
        // From before networks had a hash.
        let old = Network { spec_hash: String::new(), ..shown(&wanted) };
        assert_eq!(changes(&old, &internal).unwrap(), None);
    }

    #[test]
    fn a_network_of_composes_is_compared_with_what_the_engine_shows() {
        let shown = Network {
            owner: owned(""),
            driver: Some("bridge".into()),
            enable_ipv6: Some(false),
            labels: BTreeMap::from([("tier".into(), "a".into())]),
            subnets: vec![Subnet { gateway: Some("10.9.0.1".into()), ..pool("10.9.0.0/24") }],
            ..Network::default()
        };
        let of = |change: fn(&mut Network)| {
            let mut wanted = Network { labels: shown.labels.clone(), ..Network::default() };
            change(&mut wanted);
            changes(&shown, &wanted).unwrap()
        };
        assert_eq!(of(|_| {}), None);
        assert_eq!(of(|wanted| wanted.subnets = vec![pool("10.9.0.0/24")]), None);
        assert_eq!(of(|wanted| wanted.driver = Some("macvlan".into())).unwrap(), "driver: bridge → macvlan");
        assert_eq!(of(|wanted| wanted.enable_ipv6 = Some(true)).unwrap(), "enable_ipv6: false → true");
        assert_eq!(
            of(|wanted| drop(wanted.labels.insert("tier".into(), "b".into()))).unwrap(),
            "labels.tier: a → b"
        );
        assert_eq!(of(|wanted| wanted.labels.clear()).unwrap(), "labels.tier: a → not set");
    }
}
